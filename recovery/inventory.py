"""Rebuilds the reservations from the events, and the counters from the reservations.

The stock that was received or written off since the backup is in no other database. So it is not
rebuilt: staff count it. Only the pieces that orders have reserved or shipped prove that they were
received.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import transaction

from audit.databases import fetch
from inventory.models import Reservation
from recovery.journal import Journal
from recovery.writes import Note, Plan, Write
from sagas import sql
from sagas.definition.messages import to_json
from sagas.operations import holds
from sagas.storage.registry import get_service

__all__ = ["RESERVE", "plan_counters", "plan_hold", "plan_reservations"]

BY = "manage.py recover"
REASON = "recovered: orders have these pieces, and no receipt of them is left"

RESERVE = "inventory.reserve"
HOLD_REASON = (
    "The inventory database was restored. Count the stock, correct it, then release this hold: an "
    "order that reserves before is refused stock that is there."
)

REBUILT = "reservation rebuilt"
MOVED = "reservation brought up to date"
COUNTED = "stock counters corrected"
PROVEN = "receipt added for pieces that orders have"
HELD = "step put on hold until the stock is counted"
CONFLICT = "reservation with two results"
COUNT_BY_HAND = "stock to count by hand"

State = Reservation.State

INSERT = """
INSERT INTO inventory_reservation (order_id, sku, quantity, state, created_at, updated_at)
SELECT r."order", r.sku, r.quantity, r.state, r.at, clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r("order" uuid, sku text, quantity int, state text, at timestamptz)
 ORDER BY r."order", r.sku
ON CONFLICT (order_id, sku) DO UPDATE
   SET state = EXCLUDED.state, updated_at = clock_timestamp()
 WHERE inventory_reservation.state = 'held'
"""

ADD_ITEMS = """
INSERT INTO inventory_stockitem (sku)
SELECT DISTINCT r.sku FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(sku text) ORDER BY r.sku
ON CONFLICT (sku) DO NOTHING
"""

# `received` is the sum of the adjustments. The pieces on hand are all received pieces that no order
# has. An order no longer has the pieces that came back.
COUNTERS = """
SELECT i.sku, i.on_hand, i.reserved, i.shipped, i.returned, COALESCE(a.pieces, 0),
       COALESCE(r.held, 0), COALESCE(r.shipped, 0), COALESCE(b.pieces, 0)
  FROM inventory_stockitem i
  LEFT JOIN (SELECT sku, sum(quantity)::bigint AS pieces FROM inventory_stockadjustment
              GROUP BY sku) a ON a.sku = i.sku
  LEFT JOIN (SELECT sku, sum(quantity) FILTER (WHERE state = 'held')::bigint AS held,
                    sum(quantity) FILTER (WHERE state = 'shipped')::bigint AS shipped
               FROM inventory_reservation GROUP BY sku) r ON r.sku = i.sku
  LEFT JOIN (SELECT sku, sum(restocked + written_off)::bigint AS pieces
               FROM inventory_stockreturn GROUP BY sku) b ON b.sku = i.sku
 ORDER BY i.sku
"""

SET_COUNTERS = """
UPDATE inventory_stockitem i
   SET on_hand = r.on_hand, reserved = r.reserved, shipped = r.shipped, returned = r.returned
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(sku text, on_hand bigint, reserved bigint, shipped bigint, returned bigint)
 WHERE i.sku = r.sku
"""

ADD_RECEIPTS = """
INSERT INTO inventory_stockadjustment (sku, quantity, reason, by, at)
SELECT r.sku, r.missing, %(reason)s, %(by)s, clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(sku text, missing int)
 WHERE r.missing > 0
"""

ON_HOLD = "SELECT 1 FROM {hold} WHERE step = %(step)s"


class ReservedLine(msgspec.Struct, frozen=True):
    """One reservation to write."""

    order: UUID
    sku: str
    quantity: int
    state: str
    at: datetime


class Counters(msgspec.Struct, frozen=True):
    """The counters of one SKU, and the pieces that are proven and were never received."""

    sku: str
    on_hand: int
    reserved: int
    shipped: int
    returned: int
    missing: int


def plan_reservations(journals: Sequence[Journal]) -> Plan:
    """Plan the reservations of a page of orders, as the events of inventory report them."""
    plan = Plan()
    wanted = {journal.saga: journal for journal in journals if _has_reserved(journal)}
    existing: dict[tuple[UUID, str], str] = {
        (order, str(sku)): state
        for order, sku, state in Reservation.objects.filter(order_id__in=wanted).values_list(
            "order_id", "item_id", "state"
        )
    }
    for saga, journal in wanted.items():
        state = _state(journal)
        for sku, quantity in journal.lines:
            present = existing.get((saga, sku))
            if present == state:
                continue
            if present not in (None, State.HELD):
                detail = f"{quantity} of {sku} are {present}, but the events say {state}"
                plan.notes.append(
                    Note(kind=CONFLICT, subject=str(saga), detail=detail, blocking=True)
                )
                continue
            plan.writes.append(_reservation(journal, sku, quantity, state, present))
    return plan


def plan_counters() -> Plan:
    """Plan the counters of all SKUs, from the reservations and returns that exist now."""
    plan = Plan()
    for sku, *present, received, held, sent, back in fetch("inventory", COUNTERS):
        kept = held + sent - back
        missing = max(0, kept - received)
        right = Counters(sku, received + missing - kept, held, sent, back, missing)
        if missing:
            plan.notes.append(
                Note(
                    kind=COUNT_BY_HAND,
                    subject=sku,
                    detail=f"orders have {kept} pieces, receipts are known of {received}",
                )
            )
        if [right.on_hand, right.reserved, right.shipped, right.returned] != present:
            plan.writes.append(_counters(right, present))
    return plan


def plan_hold() -> Plan:
    """Plan the hold of `inventory.reserve`, which protects orders from stock that is not known."""
    plan = Plan()
    for name in ("inventory", "orders"):
        service = get_service(name)
        statement = ON_HOLD.format(hold=service.hold)
        if not sql.fetch(service.alias, statement, {"step": RESERVE}):
            plan.writes.append(
                Write(kind=HELD, subject=RESERVE, detail=f"in {name}", apply=_hold, row=name)
            )
    return plan


def _has_reserved(journal: Journal) -> bool:
    return any(event.type == "stock.reserved" for event in journal.changes("inventory"))


def _state(journal: Journal) -> State:
    types = {event.type for event in journal.changes("inventory")}
    if "stock.shipped" in types:
        return State.SHIPPED
    return State.RELEASED if "stock.released" in types else State.HELD


def _reservation(
    journal: Journal, sku: str, quantity: int, state: State, present: str | None
) -> Write:
    at = min(event.at for event in journal.changes("inventory"))
    return Write(
        kind=MOVED if present else REBUILT,
        subject=str(journal.saga),
        detail=f"{quantity} of {sku} {state}" + (f" (was {present})" if present else ""),
        apply=_write_reservations,
        row=ReservedLine(journal.saga, sku, quantity, state, at),
    )


def _counters(right: Counters, present: Sequence[int]) -> Write:
    detail = (
        f"on hand {present[0]} → {right.on_hand}, reserved {present[1]} → {right.reserved}, "
        f"shipped {present[2]} → {right.shipped}, returned {present[3]} → {right.returned}"
    )
    if right.missing:
        detail += f"; a receipt of {right.missing} added"
    kind = PROVEN if right.missing else COUNTED
    return Write(kind=kind, subject=right.sku, detail=detail, apply=_write_counters, row=right)


def _write_reservations(rows: Sequence[ReservedLine]) -> None:
    params = {"rows": to_json(rows)}
    with transaction.atomic(using="inventory"):
        sql.run("inventory", ADD_ITEMS, params)
        sql.run("inventory", INSERT, params)


def _write_counters(rows: Sequence[Counters]) -> None:
    params = {"rows": to_json(rows), "reason": REASON, "by": BY}
    with transaction.atomic(using="inventory"):
        sql.run("inventory", ADD_RECEIPTS, params)
        sql.run("inventory", SET_COUNTERS, params)


def _hold(rows: Sequence[str]) -> None:
    for name in rows:
        holds.hold(get_service(name), step=RESERVE, by=BY, why=HOLD_REASON)
