"""The statements that move stock, each for a whole batch of orders. Call them inside a transaction.

Every transaction that moves stock first locks the items by SKU, so that batches cannot deadlock.
The lock of an item also protects its counters and its reservations.
"""

from collections import Counter
from collections.abc import Collection
from uuid import UUID

from inventory.allocation import Allocation
from inventory.models import Reservation
from sagas.definition.messages import to_json
from sagas.storage import sql

__all__ = ["close_reservations", "lock", "reserve"]

# NO KEY, so that new reservations and adjustments, whose foreign keys take KEY SHARE locks on the
# items, do not wait.
LOCK = """
    SELECT sku, on_hand FROM inventory_stockitem
    WHERE sku = ANY(%(skus)s::text[]) ORDER BY sku FOR NO KEY UPDATE
"""
LOCK_ITEMS_OF_ORDERS = """
    SELECT 1 FROM inventory_stockitem
    WHERE sku IN (SELECT sku FROM inventory_reservation WHERE order_id = ANY(%(orders)s::uuid[]))
    ORDER BY sku FOR NO KEY UPDATE
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
# A plain `state = 'held'` would make the planner use the partial index of held reservations, which
# it takes for nearly empty, and scan the reservations of all orders. Hence the CASE.
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


def lock(skus: Collection[str]) -> dict[str, int]:
    """Lock the items of SKUs and return the pieces on hand, without unknown SKUs."""
    return dict(sql.fetch("inventory", LOCK, {"skus": list(skus)}))


def reserve(allocation: Allocation) -> None:
    """Move allocated pieces from on hand to reserved. The caller has locked the items."""
    if not allocation.reserved:
        return
    taken = allocation.taken()
    sql.run("inventory", TAKE, {"skus": list(taken), "pieces": sql.array_literal(taken.values())})
    sql.run("inventory", RESERVE, {"lines": to_json(allocation.reserved)})


def close_reservations(orders: Collection[UUID], state: Reservation.State) -> Counter[UUID]:
    """Release or ship the reservations of orders; return the number of pieces of each order."""
    params = {"orders": sql.array_literal(orders), "state": str(state)}
    sql.run("inventory", LOCK_ITEMS_OF_ORDERS, params)
    return Counter(dict(sql.fetch("inventory", CLOSE_BY_STATE[state], params)))
