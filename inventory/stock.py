"""The statements that move stock, each for a whole batch of orders. Call them inside a transaction.

Everyone who moves stock locks the items first, by SKU: no two batches can wait for each other, and
whoever has locked an item is alone with its counters and with its reservations.
"""

from collections import Counter
from collections.abc import Collection
from uuid import UUID

from inventory.allocation import Allocation
from inventory.models import Reservation
from sagas.definition.messages import to_json
from sagas.storage import sql

__all__ = ["hold", "lock", "settle"]

# NO KEY: the foreign keys of new reservations and adjustments take KEY SHARE locks on the items,
# and need not wait.
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
# The state is compared where no partial index is seen to answer it: the planner would take the one
# of what is held for nearly empty, and read through it for each batch all that other orders hold.
SETTLE = """
    WITH settled AS (
        UPDATE inventory_reservation SET state = %(state)s, updated_at = clock_timestamp()
        WHERE order_id = ANY(%(orders)s::uuid[]) AND CASE state WHEN 'held' THEN true END
        RETURNING order_id, sku, quantity
    ), moved AS (
        SELECT sku, sum(quantity) AS quantity FROM settled GROUP BY sku
    ), counted AS (
        UPDATE inventory_stockitem AS item
        SET reserved = item.reserved - moved.quantity, {counter} = item.{counter} + moved.quantity
        FROM moved WHERE item.sku = moved.sku
    )
    SELECT order_id, sum(quantity)::bigint FROM settled GROUP BY order_id
"""
SETTLEMENTS = {
    Reservation.State.RELEASED: SETTLE.format(counter="on_hand"),
    Reservation.State.SHIPPED: SETTLE.format(counter="shipped"),
}


def lock(skus: Collection[str]) -> dict[str, int]:
    """Lock the items of these SKUs and return what is on hand of each. An unknown SKU is left
    out.
    """
    return dict(sql.fetch("inventory", LOCK, {"skus": list(skus)}))


def hold(allocation: Allocation) -> None:
    """Move what was allocated from on hand to reserved. The items are locked."""
    if not allocation.held:
        return
    taken = allocation.taken()
    sql.run("inventory", TAKE, {"skus": list(taken), "pieces": sql.array_literal(taken.values())})
    sql.run("inventory", RESERVE, {"lines": to_json(allocation.held)})


def settle(orders: Collection[UUID], state: Reservation.State) -> Counter[UUID]:
    """Release or ship all that these orders hold; return how many pieces that was for each."""
    params = {"orders": sql.array_literal(orders), "state": str(state)}
    sql.run("inventory", LOCK_ITEMS_OF_ORDERS, params)
    return Counter(dict(sql.fetch("inventory", SETTLEMENTS[state], params)))
