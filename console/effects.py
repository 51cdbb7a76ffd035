"""What each action does to one order. Each may be done twice: the second time changes nothing, or nothing more.

Before the pivot an order can be cancelled, and everything is undone; after it the saga only goes forward, and the one
thing to do for it is to try again.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple
from uuid import UUID

import msgspec

from console.models import Action, RunItem
from orders.events import OrderCancelling
from orders.models import Order
from orders.services import OrderFulfilledError, cancel_order
from orders.status import Status
from sagas import inbox, outbox, sql
from sagas.lifecycle import decides_itself
from sagas.nudge import nudge
from sagas.plan import Plan
from sagas.services import Service, service_called

__all__ = ["Effect", "effect_on"]

# What the customer is told. The operator's reason is for the log alone.
BY_THE_SHOP = OrderCancelling(code="cancelled_by_shop", detail="Cancelled by the shop.")

OPEN = """
SELECT id, step, send_at IS NULL FROM {inbox} WHERE saga = %(saga)s AND state IN ('started', 'waiting') ORDER BY id
"""


class Effect(NamedTuple):
    """What came of an action on one order, in words for an operator."""

    state: RunItem.State
    said: str


def _retry(order: Order) -> Effect:
    """Bring every open step of an order forward to now."""
    brought, parked = 0, []
    for service in _services(order):
        rows = sql.fetch(service.alias, OPEN.format(inbox=service.inbox), {"saga": order.id})
        brought += inbox.bring_forward(service, [row for row, _, _ in rows])
        parked += [step for _, step, aside in rows if aside]
        nudge(service.name)
    if brought:
        return Effect(RunItem.State.DONE, f"{brought} step{'s' if brought > 1 else ''} tried again now.")
    if parked:
        said = f"{', '.join(parked)} is parked: it may have been done long ago, and is never tried again by itself."
        return Effect(RunItem.State.NOTHING, said)
    return Effect(RunItem.State.NOTHING, "No step waits for its next try.")


def _publish(order: Order) -> Effect:
    """Send every message of an order again; receivers that did their step stay silent."""
    sent = 0
    for service in _services(order):
        sent += outbox.rearm(service, sagas=[order.id])
        nudge(service.name)
    if sent:
        return Effect(RunItem.State.DONE, f"{sent} message{'s' if sent > 1 else ''} sent again.")
    return Effect(RunItem.State.NOTHING, "Its messages have been purged: it ended long ago.")


def _cancel(order: Order) -> Effect:
    """Call an order off, if its pivot has not happened."""
    if order.status in {Status.CANCELLING, Status.CANCELLED}:
        return Effect(RunItem.State.NOTHING, f"It was {order.status} already.")
    try:
        cancel_order(order, reason=BY_THE_SHOP)
    except OrderFulfilledError:
        return Effect(RunItem.State.NOTHING, "It is fulfilled: from there a saga only goes forward.")
    if not decides_itself(order.plan):
        return Effect(RunItem.State.DONE, "Asked to be called off: the service of its pivot decides whether in time.")
    return Effect(RunItem.State.DONE, "Called off; what was done for it is being undone.")


EFFECTS: Mapping[str, Callable[[Order], Effect]] = {
    Action.RETRY: _retry,
    Action.PUBLISH: _publish,
    Action.CANCEL: _cancel,
}


def effect_on(action: str, order_id: UUID) -> Effect:
    """Act on one order. Raises what the databases raise."""
    order = Order.objects.filter(id=order_id).prefetch_related("lines").first()
    if order is None:
        return Effect(RunItem.State.NOTHING, "There is no such order.")
    return EFFECTS[action](order)


def _services(order: Order) -> list[Service]:
    return [service_called(name) for name in sorted(msgspec.convert(order.plan, Plan).services())]
