"""What each action does, mostly to one order. Each may be done twice: the second time changes
nothing, or nothing more.

Before the pivot an order can be cancelled, and everything is undone; after it the saga only goes
forward, and the one thing to do for it is to try again.
"""

from collections.abc import Callable, Mapping

from console import holds
from console.bulk_actions.actions import mark_done
from console.bulk_actions.results import Effect, services_of
from console.models import Action, Run, RunItem
from orders.events import OrderCancelling
from orders.models import Order
from orders.services import OrderFulfilledError, cancel_order
from orders.status import Status
from sagas.delivery.wakeup import request_flush
from sagas.lifecycle import cancels_at_home
from sagas.storage import inbox, outbox, sql

__all__ = ["effect_of"]

# What the customer is told. The operator's reason is for the log alone.
BY_THE_SHOP = OrderCancelling(code="cancelled_by_shop", detail="Cancelled by the shop.")

OPEN = """
SELECT id, step, CASE WHEN state = 'held' THEN 'held' WHEN send_at IS NULL THEN 'parked' ELSE '' END
  FROM {inbox} WHERE saga = %(saga)s AND state IN ('started', 'waiting', 'held') ORDER BY id
"""


def _retry(order: Order, run: Run) -> Effect:
    """Bring every open step of an order forward to now."""
    brought, aside = 0, {"held": list[str](), "parked": list[str](), "": list[str]()}
    for service in services_of(order):
        rows = sql.fetch(service.alias, OPEN.format(inbox=service.inbox), {"saga": order.id})
        brought += inbox.make_due_now(service, [row for row, _, _ in rows])
        for _, step, why in rows:
            aside[why].append(step)
        request_flush(service.name)
    if brought:
        return Effect(
            RunItem.State.DONE, f"{brought} step{'s' if brought > 1 else ''} tried again now."
        )
    if aside["held"]:
        return Effect(
            RunItem.State.NOTHING, f"{', '.join(aside['held'])} is on hold: release it first."
        )
    if aside["parked"]:
        said = "is parked: it may have been done long ago, and is never tried again by itself."
        return Effect(RunItem.State.NOTHING, f"{', '.join(aside['parked'])} {said}")
    return Effect(RunItem.State.NOTHING, "No step waits for its next try.")


def _publish(order: Order, run: Run) -> Effect:
    """Send every message of an order again; receivers that did their step stay silent."""
    sent = 0
    for service in services_of(order):
        sent += outbox.republish(service, sagas=[order.id])
        request_flush(service.name)
    if sent:
        return Effect(RunItem.State.DONE, f"{sent} message{'s' if sent > 1 else ''} sent again.")
    return Effect(RunItem.State.NOTHING, "Its messages have been purged: it ended long ago.")


def _cancel(order: Order, run: Run) -> Effect:
    """Call an order off, if its pivot has not happened."""
    if order.status in {Status.CANCELLING, Status.CANCELLED}:
        return Effect(RunItem.State.NOTHING, f"It was {order.status} already.")
    try:
        cancel_order(order, reason=BY_THE_SHOP)
    except OrderFulfilledError:
        return Effect(
            RunItem.State.NOTHING, "It is fulfilled: from there a saga only goes forward."
        )
    if not cancels_at_home(order.plan):
        return Effect(
            RunItem.State.DONE,
            "Asked to be called off: the service of its pivot decides whether in time.",
        )
    if holds.hold_of(order):
        return Effect(
            RunItem.State.DONE, "Called off; it is on hold, and is undone once it is released."
        )
    return Effect(RunItem.State.DONE, "Called off; what was done for it is being undone.")


EFFECTS: Mapping[str, Callable[[Order, Run], Effect]] = {
    Action.RETRY: _retry,
    Action.PUBLISH: _publish,
    Action.CANCEL: _cancel,
    Action.HOLD: holds.hold,
    Action.RELEASE: holds.release,
    Action.BY_HAND: mark_done.mark,
}
EFFECTS_FOR_ALL: Mapping[str, Callable[[Run], Effect]] = {
    Action.HOLD_STEP: holds.hold_step,
    Action.RELEASE_STEP: holds.release_step,
}


def effect_of(item: RunItem) -> Effect:
    """Do what a run is to do, to one of its orders or to a step of all. Raises what the
    databases raise.
    """
    run = item.run
    if item.order_id is None:
        return EFFECTS_FOR_ALL[run.action](run)
    order = Order.objects.filter(id=item.order_id).prefetch_related("lines").first()
    if order is None:
        return Effect(RunItem.State.NOTHING, "There is no such order.")
    return EFFECTS[run.action](order, run)
