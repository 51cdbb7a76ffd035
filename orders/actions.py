"""What a customer is asked to do: told in the timeline, kept with the order for its client to read."""

from collections.abc import Iterable

from sagas import sql
from sagas.messages import Entry, to_json

__all__ = ["ASKED_BY", "ASKS", "follow"]

# By the name of the event, as payments publishes it.
ASKED_BY = "payment.action_required"
ASKS = ("url", "expires_at")

KEEP = """
UPDATE orders_order o SET action = v.action::jsonb, updated_at = clock_timestamp()
  FROM unnest(%(orders)s::uuid[], %(actions)s::text[]) AS v(id, action)
 WHERE o.id = v.id
"""


def follow(entries: Iterable[Entry]) -> None:
    """Keep with their orders what these events ask of the customers. The caller has locked the orders' rows."""
    asked = {entry.saga: entry.detail for entry in entries if entry.type == ASKED_BY}
    if asked:
        actions = [{"type": "redirect", **{name: detail.get(name) for name in ASKS}} for detail in asked.values()]
        sql.run("default", KEEP, {"orders": list(asked), "actions": [to_json(action) for action in actions]})
