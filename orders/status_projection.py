"""Derives an order's status from its timeline.

Events only raise the status; they never lower it, and never change a terminal one.
"""

from collections.abc import Iterable
from uuid import UUID

from orders.status import STATUS_AFTER_EVENT, STATUS_ORDER, Status
from sagas import sql
from sagas.lifecycle import TimelineEntry

__all__ = ["apply"]

# array_position is null for a terminal status, and so is the comparison: the order is unchanged.
RAISE = """
UPDATE orders_order o
   SET status = v.status, updated_at = clock_timestamp(),
       failure_code = CASE WHEN o.failure_code = '' THEN v.code ELSE o.failure_code END,
       failure_detail = CASE WHEN o.failure_code = '' THEN v.detail ELSE o.failure_detail END
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS v(id uuid, status text, code text, detail text)
 WHERE o.id = v.id
   AND array_position(%(rising)s::text[], o.status::text)
       < array_position(%(rising)s::text[], v.status)
"""


def apply(entries: Iterable[TimelineEntry]) -> None:
    """Raise orders to the highest status of these events. The caller has locked their rows."""
    highest = _highest(entries)
    if not highest:
        return

    rows = [
        {"id": order, "status": STATUS_AFTER_EVENT[entry.type].value, **_failure(entry)}
        for order, entry in highest.items()
    ]
    rising = [status.value for status in STATUS_ORDER]
    sql.run("default", RAISE, {"rising": rising, "rows": sql.json_rows(rows)})


def _highest(entries: Iterable[TimelineEntry]) -> dict[UUID, TimelineEntry]:
    """Return, for each order, the first event with the highest status."""
    found: dict[UUID, TimelineEntry] = {}
    for entry in entries:
        if entry.type not in STATUS_AFTER_EVENT:
            continue
        before = found.get(entry.saga)
        if before is None or _rank(entry) > _rank(before):
            found[entry.saga] = entry
    return found


def _rank(entry: TimelineEntry) -> int:
    return STATUS_ORDER.index(STATUS_AFTER_EVENT[entry.type])


def _failure(entry: TimelineEntry) -> dict[str, str]:
    """Return the reason of a cancellation; empty for other events."""
    if STATUS_AFTER_EVENT[entry.type] is not Status.CANCELLING:
        return {"code": "", "detail": ""}
    return {
        "code": str(entry.detail.get("code", "")),
        "detail": str(entry.detail.get("detail", "")),
    }
