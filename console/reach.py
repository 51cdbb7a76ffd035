"""The blast radius of holds and releases, and of what is marked as done by hand; of the others: `console.radius`."""

from collections.abc import Callable, Mapping
from functools import partial

from console.holds import BEHIND
from console.models import Action, Run
from console.radius import CAPTURED, HELD, OrdersAsking, Radius, radius_of
from sagas.gauges import MOST
from sagas.services import owner_of, service_called, service_names

__all__ = ["radius_now"]

HOLDABLE = """
SELECT o.id FROM orders_order o
 WHERE o.id = ANY(%(orders)s::uuid[]) AND o.ended_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM orders_hold h WHERE h.saga = o.id)
"""

ON_HOLD = "SELECT saga FROM {hold} WHERE saga = ANY(%(orders)s::uuid[])"
WAITING = "SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND state = 'held'"

OPEN_ORDERS = """
SELECT count(*) FROM (SELECT 1 FROM orders_order WHERE ended_at IS NULL ORDER BY rescue_at LIMIT %(most)s) open
"""
STEP_ON_HOLD = "SELECT 1 FROM {hold} WHERE step = %(step)s"

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
    question = QUESTIONS.get(run.action)
    return question(OrdersAsking(orders), run.step) if question else radius_of(run.action, orders)


def _hold(asking: OrdersAsking, _: str) -> Radius:
    touched = asking.ask("orders", lambda: asking.fetch("default", HOLDABLE))
    return asking.radius(affected=len(touched))


def _release(asking: OrdersAsking, _: str) -> Radius:
    services = list(map(service_called, service_names()))
    held = {saga for service in services for (saga,) in asking.ask(service.name, asking.of(service, ON_HOLD))}
    rows = [saga for service in services for (saga,) in asking.ask(service.name, asking.of(service, WAITING))]
    return asking.radius(affected=len(held), messages=sum(saga in held for saga in rows))


def _hold_step(asking: OrdersAsking, step: str) -> Radius:
    owner = owner_of(step)
    held = asking.ask(owner.name, asking.of(owner, STEP_ON_HOLD, step=step))
    [(orders,)] = asking.ask("orders", lambda: asking.fetch("default", OPEN_ORDERS, most=MOST)) or [(0,)]
    [(rows,)] = asking.ask(owner.name, asking.of(owner, AT_STEP, step=step, most=MOST)) or [(0,)]
    return asking.radius(orders=orders, holds=int(not held), messages=rows)


def _release_step(asking: OrdersAsking, step: str) -> Radius:
    owner = owner_of(step)
    held = asking.ask(owner.name, asking.of(owner, STEP_ON_HOLD, step=step))
    [(rows,)] = asking.ask(owner.name, asking.of(owner, BEHIND, step=step, most=MOST)) or [(0,)]
    return asking.radius(orders=rows, holds=len(held), messages=rows)


def _by_hand(asking: OrdersAsking, step: str) -> Radius:
    owner = owner_of(step)
    found = asking.ask(owner.name, asking.of(owner, MARKABLE, step=step))
    refunds, pieces = {}, []
    if found and step == "payments.refund":
        refunds = dict(asking.ask("payments", partial(asking.fetch, "payments", CAPTURED)))
    if found and owner.name == "inventory":
        pieces = asking.ask("inventory", partial(asking.fetch, "inventory", HELD))
    return asking.radius(affected=len(found), refunds=refunds, pieces=sum(number for (number,) in pieces))


QUESTIONS: Mapping[str, Callable[[OrdersAsking, str], Radius]] = {
    Action.HOLD: _hold,
    Action.RELEASE: _release,
    Action.HOLD_STEP: _hold_step,
    Action.RELEASE_STEP: _release_step,
    Action.BY_HAND: _by_hand,
}
