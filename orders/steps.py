"""The steps of the orders service: fulfil an order, or cancel it after all undos."""

from collections.abc import Iterable
from uuid import UUID

from msgspec import Struct, field

from orders.events import OrderCancelled, OrderFulfilled, OrderUnfulfillable
from orders.models import Order
from orders.status import Status, may_become
from sagas import Batch, action, sql, undo
from sagas.lifecycle import cancels_at_home
from sagas.outcomes import Outcome

__all__ = ["Failure", "OrderAlreadyFulfilled", "OrderToCancel", "OrderToFulfil", "cancel", "fulfil"]

# The cancel came too late, so its reason no longer applies.
FULFIL = """
UPDATE orders_order
   SET status = 'fulfilled', failure_code = '', failure_detail = '', updated_at = clock_timestamp()
 WHERE id = ANY(%(orders)s::uuid[])
"""

# Keep the reason that the customer has already seen; a second compensation may have another.
CANCEL = """
UPDATE orders_order o
   SET status = 'cancelled', needs_attention = false,
       ended_at = clock_timestamp(), updated_at = clock_timestamp(),
       failure_code = CASE WHEN o.failure_code = '' THEN v.code ELSE o.failure_code END,
       failure_detail = CASE WHEN o.failure_code = '' THEN v.detail ELSE o.failure_detail END
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS v(id uuid, code text, detail text)
 WHERE o.id = v.id
"""


class OrderAlreadyFulfilled(Exception):
    """A message asks to cancel a fulfilled order. The inbox and outbox show which one."""


class Failure(Struct, frozen=True):
    """The reason of the compensation."""

    code: str = "internal_error"
    detail: str = "The order could not be processed."


class OrderToFulfil(Struct, frozen=True):
    """The context of `orders.fulfil`: it needs only the order's id."""


class OrderToCancel(Struct, frozen=True):
    """The context of `orders.cancel`."""

    failure: Failure = field(default_factory=Failure)


@action("orders.fulfil", accepts=OrderToFulfil, refusal=OrderUnfulfillable)
def fulfil(batch: Batch[OrderToFulfil]) -> list[Outcome]:
    """Mark orders as fulfilled. An unknown order, as after a restored backup, is refused.

    A refusal leads to a refund. After a pivot in another service no order is refused: an order
    whose cancel came too late is fulfilled.
    """
    statuses = _lock(delivery.saga for delivery in batch)
    late = _cancelled_too_late(statuses)
    rising = [
        order
        for order, status in statuses.items()
        if may_become(status, Status.FULFILLED, pivot_elsewhere=order in late)
    ]
    sql.run("default", FULFIL, {"orders": sql.array_literal(rising)})
    fulfilled = {
        *rising,
        *(order for order, status in statuses.items() if status == Status.FULFILLED),
    }
    return [
        OrderFulfilled() if delivery.saga in fulfilled else OrderUnfulfillable()
        for delivery in batch
    ]


@undo("orders.cancel", accepts=OrderToCancel)
def cancel(batch: Batch[OrderToCancel]) -> list[Outcome]:
    """Mark orders as cancelled, after their undos. An unknown order counts as done."""
    statuses = _lock(delivery.saga for delivery in batch)
    _refuse_fulfilled(statuses)
    ending = [
        delivery
        for delivery in batch
        if may_become(statuses.get(delivery.saga, "cancelled"), Status.CANCELLED)
    ]
    rows = [
        {
            "id": delivery.saga,
            "code": delivery.context.failure.code,
            "detail": delivery.context.failure.detail,
        }
        for delivery in ending
    ]
    sql.run("default", CANCEL, {"rows": sql.json_rows(rows)})
    return [
        OrderCancelled(code=delivery.context.failure.code, detail=delivery.context.failure.detail)
        for delivery in batch
    ]


def _lock(orders: Iterable[UUID]) -> dict[UUID, str]:
    """Lock the existing orders and return their status.

    They are locked by id, so that overlapping batches cannot deadlock.
    """
    locked = Order.objects.filter(id__in=list(orders)).order_by("id").select_for_update(no_key=True)
    return dict(locked.values_list("id", "status"))


def _cancelled_too_late(statuses: dict[UUID, str]) -> set[UUID]:
    cancelling = [order for order, status in statuses.items() if status == Status.CANCELLING]
    plans = Order.objects.filter(id__in=cancelling).values_list("id", "plan")
    return {order for order, plan in plans if not cancels_at_home(plan)}


def _refuse_fulfilled(statuses: dict[UUID, str]) -> None:
    fulfilled = [str(order) for order, status in statuses.items() if status == Status.FULFILLED]
    if fulfilled:
        raise OrderAlreadyFulfilled(
            "These orders are fulfilled and cannot be cancelled; find the message that asked: "
            f"{', '.join(fulfilled)}."
        )
