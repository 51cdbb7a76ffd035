"""Writes to stock, for a whole batch of orders. Call them inside a transaction.

Every transaction that moves stock first locks the items by SKU. The lock of an item also protects
its counters and its reservations.

A locked item delays only the orders that need it. `lock` takes the items that are free at once, and
waits for the others at most `LONGEST_WAIT_MS`. So two batches that lock the same items in
different order cannot block each other for longer.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from django.db import OperationalError, transaction

from inventory.allocation import Allocation
from inventory.models import Reservation
from sagas import sql
from sagas.sql import to_json

__all__ = ["LockedItems", "close_reservations", "lock", "lock_items_of_orders", "reserve"]

# Milliseconds that a batch waits for items which another transaction has locked. A batch of another
# worker is usually done by then.
LONGEST_WAIT_MS = 250

# Seconds for which this process does not wait again for an item that stayed locked.
NO_WAIT_SECONDS = 5.0

# NO KEY, so that new reservations and adjustments, whose foreign keys take KEY SHARE locks on the
# items, do not wait.
LOCK_FREE = """
    SELECT sku, on_hand FROM inventory_stockitem
    WHERE sku = ANY(%(skus)s::text[]) ORDER BY sku FOR NO KEY UPDATE SKIP LOCKED
"""
LOCK = """
    SELECT sku, on_hand FROM inventory_stockitem
    WHERE sku = ANY(%(skus)s::text[]) ORDER BY sku FOR NO KEY UPDATE
"""
EXISTING = "SELECT sku FROM inventory_stockitem WHERE sku = ANY(%(skus)s::text[])"
SET_LOCK_TIMEOUT = """
    SELECT current_setting('lock_timeout'), set_config('lock_timeout', %(timeout)s, true)
"""
LOCK_NOT_AVAILABLE = "55P03"

# A plain `state = 'held'` would make the planner use the partial index of held reservations, which
# it takes for nearly empty, and scan the reservations of all orders. Hence the CASE.
LOCK_FREE_OF_ORDERS = """
    WITH needed AS MATERIALIZED (
        SELECT order_id, sku FROM inventory_reservation
        WHERE order_id = ANY(%(orders)s::uuid[]) AND CASE state WHEN 'held' THEN true END
    ), locked AS MATERIALIZED (
        SELECT sku FROM inventory_stockitem
        WHERE sku IN (SELECT sku FROM needed) ORDER BY sku FOR NO KEY UPDATE SKIP LOCKED
    )
    SELECT order_id, sku FROM needed WHERE sku NOT IN (SELECT sku FROM locked)
"""
TAKE = """
    UPDATE inventory_stockitem AS item
    SET on_hand = item.on_hand - taken.quantity, reserved = item.reserved + taken.quantity
    FROM unnest(%(skus)s::text[], %(pieces)s::bigint[]) AS taken (sku, quantity)
    WHERE item.sku = taken.sku
"""
RESERVE = """
    INSERT INTO inventory_reservation (order_id, sku, quantity)
    SELECT "order", sku, quantity
    FROM jsonb_to_recordset(%(lines)s::jsonb) AS line ("order" uuid, sku text, quantity int)
    ORDER BY "order", sku
"""
# The CASE has the same reason as above.
CLOSE = """
    WITH closed AS (
        UPDATE inventory_reservation SET state = %(state)s, updated_at = clock_timestamp()
        WHERE order_id = ANY(%(orders)s::uuid[]) AND CASE state WHEN 'held' THEN true END
        RETURNING order_id, sku, quantity
    ), moved AS (
        SELECT sku, sum(quantity) AS quantity FROM closed GROUP BY sku
    ), counted AS (
        UPDATE inventory_stockitem AS item
        SET reserved = item.reserved - moved.quantity, {counter} = item.{counter} + moved.quantity
        FROM moved WHERE item.sku = moved.sku
    )
    SELECT order_id, sum(quantity)::bigint FROM closed GROUP BY order_id
"""
CLOSE_BY_STATE = {
    Reservation.State.RELEASED: CLOSE.format(counter="on_hand"),
    Reservation.State.SHIPPED: CLOSE.format(counter="shipped"),
}


# The time (monotonic) until which this process does not wait for an item.
_no_wait_until: dict[str, float] = {}


class LockedItems(NamedTuple):
    """The items that a batch has locked: the pieces on hand by SKU. `busy`: other transactions
    still lock these SKUs. A SKU in neither is unknown.
    """

    on_hand: Mapping[str, int]
    busy: frozenset[str]

    def first_busy(self, skus: Iterable[str]) -> str | None:
        """Return the first of some SKUs that is busy, if any is."""
        return next((sku for sku in skus if sku in self.busy), None)


def lock(skus: Collection[str]) -> LockedItems:
    """Lock the items of SKUs. Leave out each item that another transaction keeps locked."""
    on_hand = dict(sql.fetch("inventory", LOCK_FREE, {"skus": list(skus)}))
    if len(on_hand) == len(skus):
        return LockedItems(on_hand, frozenset())

    missing = [sku for sku in skus if sku not in on_hand]
    taken = {sku for (sku,) in sql.fetch("inventory", EXISTING, {"skus": missing})}
    on_hand |= _wait_for(taken)
    return LockedItems(on_hand, frozenset(taken - on_hand.keys()))


def lock_items_of_orders(orders: Collection[UUID]) -> dict[UUID, str]:
    """Lock the items that orders have reserved; return the orders that have a busy item, with it.

    Do not close the reservations of these orders now.
    """
    params = {"orders": sql.array_literal(orders)}
    orders_by_sku: defaultdict[str, list[UUID]] = defaultdict(list)
    for order, sku in sql.fetch("inventory", LOCK_FREE_OF_ORDERS, params):
        orders_by_sku[sku].append(order)

    busy = orders_by_sku.keys() - _wait_for(orders_by_sku).keys()
    return {order: sku for sku in sorted(busy) for order in orders_by_sku[sku]}


def _wait_for(skus: Iterable[str]) -> dict[str, int]:
    """Lock items that were locked a moment ago; return their pieces on hand, or none of them.

    The transaction stays usable, and keeps its other locks.
    """
    now = time.monotonic()
    waited_for = [sku for sku in skus if _no_wait_until.get(sku, 0) <= now]
    if not waited_for:
        return {}

    try:
        with transaction.atomic(using="inventory"):
            before = _set_lock_timeout(f"{LONGEST_WAIT_MS}ms")
            locked = dict(sql.fetch("inventory", LOCK, {"skus": waited_for}))
            _set_lock_timeout(before)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        _remember_busy(waited_for)
        return {}
    return locked


def _remember_busy(skus: Iterable[str]) -> None:
    now = time.monotonic()
    for sku in [sku for sku, until in _no_wait_until.items() if until <= now]:
        del _no_wait_until[sku]
    _no_wait_until.update(dict.fromkeys(skus, now + NO_WAIT_SECONDS))


def _set_lock_timeout(timeout: str) -> str:
    """Set PostgreSQL's lock_timeout for the rest of the transaction; return the one before."""
    ((before, _),) = sql.fetch("inventory", SET_LOCK_TIMEOUT, {"timeout": timeout})
    return str(before)


def reserve(allocation: Allocation) -> None:
    """Move allocated pieces from on hand to reserved. The caller has locked the items."""
    if not allocation.reserved:
        return
    taken = allocation.taken()
    sql.run("inventory", TAKE, {"skus": list(taken), "pieces": sql.array_literal(taken.values())})
    sql.run("inventory", RESERVE, {"lines": to_json(allocation.reserved)})


def close_reservations(orders: Collection[UUID], state: Reservation.State) -> Counter[UUID]:
    """Release or ship the reservations of orders; return the number of pieces of each order.

    The caller has locked the items with `lock_items_of_orders`.
    """
    params = {"orders": sql.array_literal(orders), "state": str(state)}
    return Counter(dict(sql.fetch("inventory", CLOSE_BY_STATE[state], params)))
