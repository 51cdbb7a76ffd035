"""Writes to stock for a batch of returns. Call them inside a transaction, with the items locked."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from sagas import sql
from sagas.sql import to_json

__all__ = ["ReturnedLine", "Shipped", "missing", "restock"]

# The lock of an item protects its reservations and its returns, so this does not change meanwhile.
LEFT = """
    SELECT r.order_id, r.sku, r.state = 'held',
           CASE r.state WHEN 'shipped' THEN r.quantity ELSE 0 END
           - COALESCE((SELECT sum(b.restocked + b.written_off) FROM inventory_stockreturn b
                        WHERE b.order_id = r.order_id AND b.sku = r.sku), 0)::bigint
      FROM inventory_reservation r WHERE r.order_id = ANY(%(orders)s::uuid[])
"""

RESTOCK = """
    WITH line AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(%(lines)s::jsonb)
            AS line ("return" uuid, "order" uuid, sku text, restock int, write_off int)
    ), added AS (
        INSERT INTO inventory_stockreturn (return_id, order_id, sku, restocked, written_off)
        SELECT "return", "order", sku, restock, write_off FROM line ORDER BY "return", sku
    ), written_off AS (
        INSERT INTO inventory_stockadjustment (sku, quantity, reason, by)
        SELECT sku, -write_off, 'Written off: return ' || "return", 'returns'
          FROM line WHERE write_off > 0 ORDER BY sku, "return"
    ), moved AS (
        SELECT sku, sum(restock) AS restock, sum(write_off) AS write_off FROM line GROUP BY sku
    )
    UPDATE inventory_stockitem AS item
    SET on_hand = item.on_hand + moved.restock,
        returned = item.returned + moved.restock + moved.write_off
    FROM moved WHERE item.sku = moved.sku
"""


class ReturnedLine(Struct, frozen=True):
    """The pieces of one SKU that came back with one return."""

    return_: UUID
    order: UUID
    sku: str
    restock: int
    write_off: int

    @property
    def pieces(self) -> int:
        """All pieces of the SKU that came back."""
        return self.restock + self.write_off


class Shipped(NamedTuple):
    """Whether the pieces of an order's SKU are still held, and how many may come back."""

    held: bool
    left: int


NOTHING = Shipped(held=False, left=0)


def missing(lines: Sequence[ReturnedLine]) -> Iterator[tuple[ReturnedLine, Shipped]]:
    """Yield each line of which fewer pieces are with the customer, and how many are.

    The lines of one order count one after the other.
    """
    orders = sql.array_literal({line.order for line in lines})
    found = {
        (order, sku): Shipped(held=held, left=left)
        for order, sku, held, left in sql.fetch("inventory", LEFT, {"orders": orders})
    }
    taken: Counter[tuple[UUID, str]] = Counter()
    for line in lines:
        key = line.order, line.sku
        taken[key] += line.pieces
        known = found.get(key, NOTHING)
        if taken[key] > known.left:
            yield line, known


def restock(lines: Iterable[ReturnedLine]) -> None:
    """Put pieces back on hand, write the others off, and count all of them as returned."""
    rows = [
        {
            "return": line.return_,
            "order": line.order,
            "sku": line.sku,
            "restock": line.restock,
            "write_off": line.write_off,
        }
        for line in lines
    ]
    if rows:
        sql.run("inventory", RESTOCK, {"lines": to_json(rows)})
