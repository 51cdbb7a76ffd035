"""What a customer is asked to do: told in the timeline, kept with the order for its client to
read.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sagas.definition.messages import TimelineEntry, to_json
from sagas.storage import sql

__all__ = ["ACTION_DONE", "ACTION_FIELDS", "ACTION_REQUIRED", "apply"]

# By the name of the events, as payments publishes them.
ACTION_REQUIRED = "payment.action_required"
ACTION_DONE = "payment.authorized"
ACTION_FIELDS = ("url", "expires_at")

# What is done is a null in JSON, so that a question that is told late is not kept after it.
KEEP = """
UPDATE orders_order o SET action = v.action::jsonb, updated_at = clock_timestamp()
  FROM unnest(%(orders)s::uuid[], %(actions)s::text[]) AS v(id, action)
 WHERE o.id = v.id AND (o.action IS NULL OR v.action = 'null' AND o.action <> 'null')
"""


def apply(entries: Iterable[TimelineEntry]) -> None:
    """Keep with their orders what these events ask of the customers, until they have done it.

    The caller has locked the orders' rows.
    """
    asked = {entry.saga: _action(entry) for entry in entries if entry.type == ACTION_REQUIRED}
    actions: dict[UUID, Any] = asked | {
        entry.saga: None for entry in entries if entry.type == ACTION_DONE
    }
    if actions:
        told = [to_json(action) for action in actions.values()]
        sql.run("default", KEEP, {"orders": list(actions), "actions": told})


def _action(entry: TimelineEntry) -> dict[str, Any]:
    return {"type": "redirect", **{name: entry.detail.get(name) for name in ACTION_FIELDS}}
