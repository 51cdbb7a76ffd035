"""Orders: each ends once, in a state that never changes again."""

from collections.abc import Iterator

from audit.databases import fetch
from audit.invariant_types import AuditContext, TableResult, Violation
from audit.snapshot import OrderSnapshot
from orders.events import OrderCancelled, OrderFulfilled
from orders.status import STATUS_AFTER_EVENT, STATUS_ORDER, TERMINAL

__all__ = [
    "cancelled_means_ended",
    "ended_means_terminal",
    "keys_are_used_once",
    "no_order_is_open",
    "status_follows_the_timeline",
    "terminal_status_has_no_event_of_the_other",
    "terminal_step_has_its_status",
]

# With the age of its hold, of the order itself or of the step at which it waits. The orders
# database has a copy of every hold on a step.
OPEN_ORDERS = """
SELECT o.id, o.status, extract(epoch FROM now() - o.created_at)::bigint,
       (SELECT extract(epoch FROM now() - min(h.since))::bigint FROM orders_hold h
         WHERE h.saga = o.id OR o.on_hold <> '' AND o.on_hold IN (h.step, h.calling_step))
  FROM orders_order o WHERE o.ended_at IS NULL ORDER BY o.id
"""

# A day. A hold that is older was probably forgotten.
MAX_HOLD_SECONDS = 24 * 3600

KEYS = "SELECT count(*) FROM orders_idempotencykey"

REUSED_KEYS = """
SELECT user_id, key, count(*), count(DISTINCT order_id) FROM orders_idempotencykey
 GROUP BY user_id, key HAVING count(*) > 1
"""

MISPLACED_KEYS = """
SELECT k.user_id, k.key, o.user_id
  FROM orders_idempotencykey k LEFT JOIN orders_order o ON o.id = k.order_id
 WHERE o.user_id IS DISTINCT FROM k.user_id
"""

# One statement, because the timeline grows meanwhile.
BEHIND_TIMELINE = """
SELECT o.id, o.status, t.type
  FROM orders_order o
  JOIN orders_timelineevent t ON t.saga = o.id
  JOIN unnest(%(types)s::text[], %(statuses)s::text[]) AS reported(type, status)
    ON reported.type = t.type
 WHERE o.ended_at IS NULL
   AND array_position(%(rising)s::text[], o.status::text)
       < array_position(%(rising)s::text[], reported.status)
"""

REOPENED = """
SELECT o.id, o.status, i.step
  FROM orders_order o
  JOIN orders_inbox i ON i.saga = o.id AND i.state = 'done'
 WHERE o.ended_at IS NULL
   AND ((i.step = 'orders.fulfil' AND o.status <> 'fulfilled')
        OR (i.step = 'orders.cancel' AND o.status <> 'cancelled'))
"""

STATUS_PARAMS = {
    "types": list(STATUS_AFTER_EVENT),
    "statuses": [status.value for status in STATUS_AFTER_EVENT.values()],
    "rising": [status.value for status in STATUS_ORDER],
}


def ended_means_terminal(order: OrderSnapshot) -> Iterator[str]:
    """An order that has ended is fulfilled or cancelled."""
    if order.order.status not in TERMINAL:
        yield f"has ended, but its status is {order.order.status}"


def cancelled_means_ended(order: OrderSnapshot) -> Iterator[str]:
    """A cancelled order has ended, because cancelling is the last step of its saga."""
    if order.cancelled and not order.ended:
        yield "is cancelled, but has not ended"


def no_order_is_open(context: AuditContext) -> Iterator[TableResult]:
    """No order is open where all should have ended; elsewhere the open ones are only counted.

    An order on hold need not have ended, until its hold is older than a hold should be.
    """
    rows = fetch("default", OPEN_ORDERS)
    violations = []
    for order, status, age, hold_age in rows if context.expect_ended else ():
        if hold_age is None:
            violations.append(Violation(str(order), f"is still {status} after {age} s"))
        elif hold_age > MAX_HOLD_SECONDS:
            detail = f"is still {status} after {age} s, on hold for {hold_age} s"
            violations.append(Violation(str(order), detail))
    yield TableResult(len(rows), "open orders", violations)


def keys_are_used_once(context: AuditContext) -> Iterator[TableResult]:
    """An idempotency key of a user names one order, and that order is the user's."""
    yield TableResult(fetch("default", KEYS)[0][0], "keys", _misused_keys())


def status_follows_the_timeline(context: AuditContext) -> Iterator[TableResult]:
    """The status of an open order is not behind its timeline: no event was applied and reverted."""
    rows = fetch("default", BEHIND_TIMELINE, STATUS_PARAMS)
    violations = [
        Violation(str(order), f"is {status}, but its timeline has {event}")
        for order, status, event in rows
    ]
    yield TableResult(0, "open orders", violations)


def terminal_status_has_no_event_of_the_other(order: OrderSnapshot) -> Iterator[str]:
    """A fulfilled order has no event and no step of a cancellation, and the other way round."""
    plan, types = order.plan, order.types()
    if order.fulfilled and (OrderCancelled.type in types or order.state(plan.abort) == "done"):
        yield f"is fulfilled, but was cancelled as well ({plan.abort})"

    pivot = plan.pivot.name if plan.pivot else plan.last
    if order.cancelled and (OrderFulfilled.type in types or order.state(pivot) == "done"):
        yield f"is cancelled, but was fulfilled as well ({pivot})"


def terminal_step_has_its_status(context: AuditContext) -> Iterator[TableResult]:
    """An order whose terminal step is done has that step's status, and is not open again."""
    rows = fetch("default", REOPENED)
    violations = [
        Violation(str(order), f"is {status}, but {step} is done") for order, status, step in rows
    ]
    yield TableResult(0, "open orders", violations)


def _misused_keys() -> Iterator[Violation]:
    for user, key, uses, orders in fetch("default", REUSED_KEYS):
        yield Violation(f"user {user}, key {key!r}", f"was used {uses} times, for {orders} orders")

    for user, key, owner in fetch("default", MISPLACED_KEYS):
        found = f"an order of user {owner}" if owner else "an order that does not exist"
        yield Violation(f"user {user}, key {key!r}", f"names {found}")
