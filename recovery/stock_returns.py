"""Rebuilds the pieces that came back: from the lines of the returns that were restocked."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import transaction

from audit.databases import fetch
from inventory.models import StockReturn
from recovery.writes import Plan, Write
from sagas import sql
from sagas.definition.messages import to_json
from services import ALIASES

__all__ = ["plan_stock_returns"]

REBUILT = "returned pieces rebuilt"

# The event of the step shows that its effect was there.
RESTOCKED = """
SELECT l.return_id, r.order_id, l.sku, l.resellable, l.received - l.resellable, e.at
  FROM returns_returnline l
  JOIN returns_return r ON r.id = l.return_id
  JOIN returns_timelineevent e ON e.saga = r.id AND e.type = 'stock.restocked'
 WHERE l.received > 0
 ORDER BY l.return_id, l.sku
"""

ADD_ITEMS = """
INSERT INTO inventory_stockitem (sku)
SELECT DISTINCT r.sku FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(sku text) ORDER BY r.sku
ON CONFLICT (sku) DO NOTHING
"""

# The adjustment of the written-off pieces was written in the transaction of the row, so both are
# lost or none is.
INSERT = """
WITH line AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb)
      AS r("return" uuid, "order" uuid, sku text, restocked int, written_off int, at timestamptz)
), added AS (
  INSERT INTO inventory_stockreturn (return_id, order_id, sku, restocked, written_off, at)
  SELECT "return", "order", sku, restocked, written_off, at FROM line ORDER BY "return", sku
  ON CONFLICT (return_id, sku) DO NOTHING
  RETURNING return_id, sku, written_off, at
)
INSERT INTO inventory_stockadjustment (sku, quantity, reason, by, at)
SELECT sku, -written_off, 'Written off: return ' || return_id, 'returns', at
  FROM added WHERE written_off > 0 ORDER BY sku, return_id
"""


class ReturnedPieces(msgspec.Struct, frozen=True, rename={"return_": "return"}):
    """The pieces of one SKU that came back with one return."""

    return_: UUID
    order: UUID
    sku: str
    restocked: int
    written_off: int
    at: datetime


def plan_stock_returns() -> Plan:
    """Plan the returned pieces that the database of inventory lacks."""
    plan = Plan()
    known: set[tuple[UUID, str]] = {
        (return_id, str(sku))
        for return_id, sku in StockReturn.objects.values_list("return_id", "item_id")
    }
    for row in fetch(ALIASES["returns"], RESTOCKED):
        found = ReturnedPieces(*row)
        if (found.return_, found.sku) not in known:
            plan.writes.append(
                Write(
                    kind=REBUILT,
                    subject=str(found.return_),
                    detail=f"{found.restocked} of {found.sku} restocked, "
                    f"{found.written_off} written off",
                    apply=_insert,
                    row=found,
                )
            )
    return plan


def _insert(rows: Sequence[ReturnedPieces]) -> None:
    params = {"rows": to_json(rows)}
    with transaction.atomic(using="inventory"):
        sql.run("inventory", ADD_ITEMS, params)
        sql.run("inventory", INSERT, params)
