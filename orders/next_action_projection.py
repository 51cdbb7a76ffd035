"""Derives from the timeline the action that a customer must take for the payment."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sagas.definition.messages import TimelineEntry, to_json
from sagas.storage import sql

__all__ = ["ACTION_DONE", "ACTION_FIELDS", "ACTION_REQUIRED", "apply"]

# The names of the events, as payments publishes them.
ACTION_REQUIRED = "payment.action_required"
ACTION_DONE = "payment.authorized"
ACTION_FIELDS = ("url", "expires_at")

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
        if entry.type == ACTION_DONE:
            actions[entry.saga] = None
        elif entry.type == ACTION_REQUIRED and actions.get(entry.saga, entry) is not None:
            actions[entry.saga] = _action(entry)
    if not actions:
        return

    values = [to_json(action) for action in actions.values()]
    sql.run("default", KEEP, {"orders": list(actions), "actions": values})


def _action(entry: TimelineEntry) -> dict[str, Any]:
    return {"type": "redirect", **{name: entry.detail.get(name) for name in ACTION_FIELDS}}
