"""Derives from the timeline the action that a customer must take for the payment."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.dateparse import parse_datetime

from sagas import sql
from sagas.lifecycle import TimelineEntry
from sagas.sql import to_json

__all__ = ["ACTION_DONE", "ACTION_FIELDS", "ACTION_REQUIRED", "UNDECIDED", "apply", "due_action"]

# The names of the events, as payments publishes them.
ACTION_REQUIRED = "payment.action_required"
ACTION_DONE = "payment.authorized"
ACTION_FIELDS = ("url", "expires_at", "method")

# The gateway is to decide on a charge: the customer has acted, for example paid the voucher.
UNDECIDED = "payment.undecided"
UNDECIDED_CHARGE = "charge"

# A completed action is stored as JSON null, so that an event that arrives late does not restore it.
KEEP = """
UPDATE orders_order o SET action = v.action::jsonb, updated_at = clock_timestamp()
  FROM unnest(%(orders)s::uuid[], %(actions)s::text[]) AS v(id, action)
 WHERE o.id = v.id AND (o.action IS NULL OR v.action = 'null' AND o.action <> 'null')
"""


def apply(entries: Iterable[TimelineEntry]) -> None:
    """Store or clear the actions of these events. The caller has locked the orders' rows."""
    actions: dict[UUID, dict[str, Any] | None] = {}
    for entry in entries:
        if _ends_action(entry):
            actions[entry.saga] = None
        elif entry.type == ACTION_REQUIRED and actions.get(entry.saga, entry) is not None:
            actions[entry.saga] = _action(entry)
    if not actions:
        return

    values = [to_json(action) for action in actions.values()]
    sql.run("default", KEEP, {"orders": list(actions), "actions": values})


def due_action(action: Mapping[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """Return a stored action for the customer; None if there is none, or if it is too late for it.

    `method` is None if the kind of the payment method is not known.
    """
    if not action:
        return None
    expires_at = parse_datetime(action["expires_at"] or "")
    if expires_at and expires_at <= now:
        return None
    return {**action, "method": action.get("method") or None}


def _ends_action(entry: TimelineEntry) -> bool:
    """Tell whether the customer has nothing to do any more. Other events change the status."""
    if entry.type == UNDECIDED:
        return entry.detail.get("subject") == UNDECIDED_CHARGE
    return entry.type == ACTION_DONE


def _action(entry: TimelineEntry) -> dict[str, Any]:
    return {"type": "redirect", **{name: entry.detail.get(name) for name in ACTION_FIELDS}}
