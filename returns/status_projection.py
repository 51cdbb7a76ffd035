"""Derives a return's status from its timeline.

Events only raise the status. They never change a status that a step has set.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from returns.status import RISING, STATUS_AFTER_EVENT, STATUS_AFTER_WAIT, Status
from sagas import sql
from services import ALIASES

__all__ = ["ALIAS", "apply"]

# The database of returns, as services/registry.py declares it.
ALIAS = ALIASES["returns"]

WAITS = "saga.waits_for_signal"

# array_position is null for a status that a step has set, and so is the comparison.
RAISE = """
UPDATE returns_return r
   SET status = v.status, updated_at = clock_timestamp(),
       failure_code = CASE WHEN r.failure_code = '' THEN v.code ELSE r.failure_code END,
       failure_detail = CASE WHEN r.failure_code = '' THEN v.detail ELSE r.failure_detail END
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS v(id uuid, status text, code text, detail text)
 WHERE r.id = v.id
   AND array_position(%(rising)s::text[], r.status::text)
       < array_position(%(rising)s::text[], v.status)
"""


def apply(entries: Iterable[Any]) -> None:
    """Raise returns to the highest status of these events. The caller has locked their rows."""
    highest: dict[UUID, tuple[Status, Any]] = {}
    for entry in entries:
        status = _status_after(entry)
        if status is None:
            continue
        before = highest.get(entry.saga)
        if before is None or RISING.index(status) > RISING.index(before[0]):
            highest[entry.saga] = status, entry

    if highest:
        rows = [_row(saga, status, entry) for saga, (status, entry) in highest.items()]
        rising = [status.value for status in RISING]
        sql.run(ALIAS, RAISE, {"rising": rising, "rows": sql.json_rows(rows)})


def _status_after(entry: Any) -> Status | None:
    if entry.type == WAITS:
        return STATUS_AFTER_WAIT.get(str(entry.detail.get("step", "")))
    return STATUS_AFTER_EVENT.get(entry.type)


def _row(saga: UUID, status: Status, entry: Any) -> dict[str, Any]:
    """Return the new status of a return; with the reason if it is being closed."""
    is_closing = status is Status.CLOSING
    return {
        "id": saga,
        "status": status.value,
        "code": str(entry.detail.get("code", "")) if is_closing else "",
        "detail": str(entry.detail.get("detail", "")) if is_closing else "",
    }
