"""Orders by themselves: that they end, once each, in a state that stays."""

from collections.abc import Iterable, Iterator

from audit.case import Case
from audit.databases import fetch
from audit.invariant import Scope, Seen, Violation
from orders.events import OrderCancelled, OrderFulfilled
from orders.status import STATUS_AFTER_EVENT, STATUS_ORDER, TERMINAL

__all__ = [
    "cancelled_means_ended",
    "ended_means_terminal",
    "keys_are_used_once",
    "none_is_open",
    "status_follows_the_timeline",
    "terminal_state_has_its_event_alone",
    "terminal_step_has_its_status",
]

# Since when it is on hold, itself or at the step where it waits: by what orders knows, as
# everything here.
OPEN_ORDERS = """
SELECT o.id, o.status, extract(epoch FROM now() - o.created_at)::bigint,
       (SELECT extract(epoch FROM now() - min(h.since))::bigint FROM orders_hold h
         WHERE h.saga = o.id OR o.on_hold <> '' AND h.step = o.on_hold)
  FROM orders_order o WHERE o.ended_at IS NULL ORDER BY o.id
"""

# A day: what is on hold for longer was not decided on, but forgotten.
MOST_SECONDS_ON_HOLD = 24 * 3600

KEYS = "SELECT count(*) FROM orders_idempotencykey"
KEYS_TWICE = """
SELECT user_id, key, count(*), count(DISTINCT order_id) FROM orders_idempotencykey
 GROUP BY user_id, key HAVING count(*) > 1
"""
KEYS_ASTRAY = """
SELECT k.user_id, k.key, o.user_id FROM orders_idempotencykey k LEFT JOIN orders_order o ON o.id = k.order_id
 WHERE o.user_id IS DISTINCT FROM k.user_id
"""

# In one statement, for the timeline goes on while we look.
BEHIND = """
SELECT o.id, o.status, t.type
  FROM orders_order o
  JOIN orders_timelineevent t ON t.saga = o.id
  JOIN unnest(%(types)s::text[], %(statuses)s::text[]) AS told(type, status) ON told.type = t.type
 WHERE o.ended_at IS NULL
   AND array_position(%(rising)s::text[], o.status::text) < array_position(%(rising)s::text[], told.status)
"""
BACK = """
SELECT o.id, o.status, i.step
  FROM orders_order o
  JOIN orders_inbox i ON i.saga = o.id AND i.state = 'done'
 WHERE o.ended_at IS NULL
   AND ((i.step = 'orders.fulfil' AND o.status <> 'fulfilled')
        OR (i.step = 'orders.cancel' AND o.status <> 'cancelled'))
"""
TOLD = {
    "types": list(STATUS_AFTER_EVENT),
    "statuses": [status.value for status in STATUS_AFTER_EVENT.values()],
    "rising": [status.value for status in STATUS_ORDER],
}


def ended_means_terminal(case: Case) -> Iterator[str]:
    """An order that has ended is fulfilled or cancelled."""
    if case.order.status not in TERMINAL:
        yield f"ended, but is {case.order.status}"


def cancelled_means_ended(case: Case) -> Iterator[str]:
    """Cancelling is the last step of its saga, so a cancelled order has ended."""
    if case.cancelled and not case.order.ended:
        yield "is cancelled, but has not ended"


def none_is_open(scope: Scope) -> Iterator[Seen]:
    """No order is open, where all are expected to have ended; else they are counted as information
    alone.

    One that is on hold is not expected to have, for as long as a hold may last.
    """
    found = fetch("default", OPEN_ORDERS)
    late = found if scope.expect_ended else []
    violations = [
        Violation(
            str(order),
            f"is {status} after {age} s" + ("" if held is None else f", on hold for {held} s"),
        )
        for order, status, age, held in late
        if held is None or held > MOST_SECONDS_ON_HOLD
    ]
    yield Seen(len(found), "open orders", violations)


def keys_are_used_once(scope: Scope) -> Iterator[Seen]:
    """A user's key names one order, and that user's."""
    yield Seen(fetch("default", KEYS)[0][0], "keys", _misused_keys())


def status_follows_the_timeline(scope: Scope) -> Iterator[Seen]:
    """The status of an open order is at least what its timeline tells: no event was applied and
    then taken back.
    """
    found = fetch("default", BEHIND, TOLD)
    yield Seen(
        0,
        "open orders",
        [Violation(str(order), f"is {was}, though {told} was told") for order, was, told in found],
    )


def terminal_state_has_its_event_alone(case: Case) -> Iterator[str]:
    """No order has an event, or a step, that says it ended otherwise than it has."""
    plan, types = case.order.plan, case.types()
    if case.fulfilled and (OrderCancelled.type in types or case.state(plan.abort) == "done"):
        yield f"is fulfilled, but was cancelled as well ({plan.abort})"
    pivot = plan.pivot.name if plan.pivot else plan.last
    if case.cancelled and (OrderFulfilled.type in types or case.state(pivot) == "done"):
        yield f"is cancelled, but was fulfilled as well ({pivot})"


def terminal_step_has_its_status(scope: Scope) -> Iterator[Seen]:
    """An order whose last word was spoken has not taken it back: it is not open again."""
    found = fetch("default", BACK)
    yield Seen(
        0,
        "open orders",
        [Violation(str(order), f"is {was}, though {step} is done") for order, was, step in found],
    )


def _misused_keys() -> Iterable[Violation]:
    for user, key, times, orders in fetch("default", KEYS_TWICE):
        yield Violation(f"user {user}, key {key!r}", f"was used {times} times, for {orders} orders")
    for user, key, owner in fetch("default", KEYS_ASTRAY):
        yield Violation(f"user {user}, key {key!r}", f"names an order of {owner or 'nobody'}")
