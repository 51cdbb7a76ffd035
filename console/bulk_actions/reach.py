"""How far each action would reach, if it ran now: one question for each, asked of the services
that it would change.
"""

from collections.abc import Callable, Mapping
from uuid import UUID

from console.bulk_actions.preview import OrdersAsking, Radius
from console.holds import BEHIND
from console.models import Action, Run
from sagas.definition.plan import service_name
from sagas.operations.table_stats import MOST

__all__ = ["QUESTIONS", "radius_now"]

WAITING = """
SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND state = 'waiting' AND send_at IS NOT NULL
"""

SENT = "SELECT saga FROM {outbox} WHERE saga = ANY(%(orders)s::uuid[])"

# Not fulfilled and not yet being cancelled: what a cancel would touch, as long as the pivot of its
# plan is not decided.
CANCELLABLE = """
SELECT o.id, jsonb_path_query_first(o.plan, '$.steps[*] ? (@.pivot == true).name') #>> '{{}}' FROM orders_order o
 WHERE o.id = ANY(%(orders)s::uuid[]) AND o.ended_at IS NULL
   AND o.status NOT IN ('fulfilled', 'cancelling', 'cancelled')
"""
DECIDED = """
SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND step = %(pivot)s AND state IN ('done', 'refused')
"""

CAPTURED = """
SELECT currency, sum(amount - refunded_amount)::bigint FROM payments_payment
 WHERE order_id = ANY(%(orders)s::uuid[]) AND status = 'captured' GROUP BY currency ORDER BY currency
"""
UNKNOWN = """
SELECT count(*) FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[]) AND status = 'pending'
"""
PIECES = """
SELECT COALESCE(sum(quantity), 0)::bigint FROM inventory_reservation
 WHERE order_id = ANY(%(orders)s::uuid[]) AND state = 'held'
"""

HOLDABLE = """
SELECT o.id FROM orders_order o
 WHERE o.id = ANY(%(orders)s::uuid[]) AND o.ended_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM orders_hold h WHERE h.saga = o.id)
"""
ON_HOLD = "SELECT saga FROM {hold} WHERE saga = ANY(%(orders)s::uuid[])"
HELD = "SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND state = 'held'"

OPEN_ORDERS = """
SELECT count(*) FROM (SELECT 1 FROM orders_order WHERE ended_at IS NULL ORDER BY rescue_at LIMIT %(most)s) open
"""
STEP_ON_HOLD = "SELECT count(*) FROM {hold} WHERE step = %(step)s"

# By way of the row's states, of which each has its index.
AT_STEP = """
SELECT count(*)
  FROM (SELECT step FROM {inbox} WHERE state IN ('started', 'waiting') ORDER BY send_at LIMIT %(most)s) open
 WHERE step = %(step)s
"""

MARKABLE = """
SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND step = %(step)s
   AND state IN ('started', 'waiting', 'held')
"""


def radius_now(run: Run) -> Radius:
    """Return what a run would do if it started now."""
    orders = [order for order in run.items.values_list("order_id", flat=True) if order]
    return QUESTIONS[run.action](OrdersAsking(orders), run.step)


def _retry(asking: OrdersAsking, _: str) -> Radius:
    return _about(asking, asking.of_all(WAITING))


def _publish(asking: OrdersAsking, _: str) -> Radius:
    return _about(asking, asking.of_all(SENT))


def _about(asking: OrdersAsking, messages: list[UUID]) -> Radius:
    return asking.radius(affected=len(set(messages)), messages=len(messages))


def _cancel(asking: OrdersAsking, _: str) -> Radius:
    touched = _cancellable(asking)
    return asking.radius(
        affected=len(touched),
        refunds=dict(asking.rows("payments", CAPTURED, orders=touched)),
        unknown=asking.number("payments", UNKNOWN, orders=touched),
        pieces=asking.number("inventory", PIECES, orders=touched),
    )


def _cancellable(asking: OrdersAsking) -> list[UUID]:
    """Return the orders whose pivot is not decided, by the inbox of whichever service it lies
    in.
    """
    pivots: dict[UUID, str] = dict(asking.rows("orders", CANCELLABLE))
    decided = {
        saga for pivot in sorted(set(pivots.values())) for saga in _decided(asking, pivot, pivots)
    }
    return [order for order in pivots if order not in decided]


def _decided(asking: OrdersAsking, pivot: str, pivots: Mapping[UUID, str]) -> list[UUID]:
    orders = [order for order, own in pivots.items() if own == pivot]
    return [
        saga for (saga,) in asking.rows(service_name(pivot), DECIDED, orders=orders, pivot=pivot)
    ]


def _hold(asking: OrdersAsking, _: str) -> Radius:
    return asking.radius(affected=len(asking.rows("orders", HOLDABLE)))


def _release(asking: OrdersAsking, _: str) -> Radius:
    on_hold = set(asking.of_all(ON_HOLD))
    return asking.radius(
        affected=len(on_hold), messages=sum(saga in on_hold for saga in asking.of_all(HELD))
    )


def _hold_step(asking: OrdersAsking, step: str) -> Radius:
    owner = service_name(step)
    held = asking.number(owner, STEP_ON_HOLD, step=step)
    orders = asking.number("orders", OPEN_ORDERS, most=MOST)
    return asking.radius(
        orders=orders, holds=1 - held, messages=asking.number(owner, AT_STEP, step=step, most=MOST)
    )


def _release_step(asking: OrdersAsking, step: str) -> Radius:
    owner = service_name(step)
    held = asking.number(owner, STEP_ON_HOLD, step=step)
    behind = asking.number(owner, BEHIND, step=step, most=MOST)
    return asking.radius(orders=behind, holds=held, messages=behind)


def _by_hand(asking: OrdersAsking, step: str) -> Radius:
    found = asking.rows(service_name(step), MARKABLE, step=step)
    pays_back, moves_stock = step == "payments.refund", service_name(step) == "inventory"
    return asking.radius(
        affected=len(found),
        refunds=dict(asking.rows("payments", CAPTURED)) if found and pays_back else {},
        pieces=asking.number("inventory", PIECES) if found and moves_stock else 0,
    )


QUESTIONS: Mapping[str, Callable[[OrdersAsking, str], Radius]] = {
    Action.RETRY: _retry,
    Action.PUBLISH: _publish,
    Action.CANCEL: _cancel,
    Action.HOLD: _hold,
    Action.RELEASE: _release,
    Action.BY_HAND: _by_hand,
    Action.HOLD_STEP: _hold_step,
    Action.RELEASE_STEP: _release_step,
}
