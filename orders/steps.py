"""Orders' part in its own saga: fulfil, after which there is no way back, or cancel, once
everything is undone.
"""

from collections.abc import Iterable
from uuid import UUID

from msgspec import Struct, field

from orders.events import OrderCancelled, OrderFulfilled, OrderUnfulfillable
from orders.models import Order
from orders.status import Status, may_become
from sagas.definition.handlers import Batch, Outcome, action, undo
from sagas.lifecycle import cancels_at_home
from sagas.storage import sql

__all__ = ["Failure", "OrderAlreadyFulfilled", "OrderToCancel", "OrderToFulfil", "cancel", "fulfil"]

# Why an order was to be cancelled is no news of one for which that came too late.
FULFIL = """
UPDATE orders_order SET status = 'fulfilled', failure_code = '', failure_detail = '', updated_at = clock_timestamp()
 WHERE id = ANY(%(orders)s::uuid[])
"""

# The reason that the customer has already been shown stays; a second walk back may know of another.
CANCEL = """
UPDATE orders_order o
   SET status = 'cancelled', ended_at = clock_timestamp(), updated_at = clock_timestamp(), needs_attention = false,
       failure_code = CASE WHEN o.failure_code = '' THEN v.code ELSE o.failure_code END,
       failure_detail = CASE WHEN o.failure_code = '' THEN v.detail ELSE o.failure_detail END
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS v(id uuid, code text, detail text)
 WHERE o.id = v.id
"""


class OrderAlreadyFulfilled(Exception):
    """A fulfilled order was to be cancelled. Its inbox and outbox say which message asked for
    that.
    """


class Failure(Struct, frozen=True):
    """Why the saga turned back."""

    code: str = "internal_error"
    detail: str = "The order could not be processed."


class OrderToFulfil(Struct, frozen=True):
    """Fulfil needs no more than the order's id."""


class OrderToCancel(Struct, frozen=True):
    """What `orders.cancel` reads of the saga's context."""

    failure: Failure = field(default_factory=Failure)


@action("orders.fulfil", accepts=OrderToFulfil, refusal=OrderUnfulfillable)
def fulfil(batch: Batch[OrderToFulfil]) -> list[Outcome]:
    """Promise the order to its customer. One that is not here, as after a restored backup, is
    refused, so refunded.

    Behind a pivot that lies elsewhere nothing is refused: an order that was called off too late is
    fulfilled.
    """
    statuses = _lock(delivery.saga for delivery in batch)
    late = _called_off_too_late(statuses)
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
    """End the order, undone. One that is not here has nothing left to undo: done."""
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
    """Lock the orders that exist, by id, so that overlapping batches cannot deadlock; return
    their status.
    """
    locked = Order.objects.filter(id__in=list(orders)).order_by("id").select_for_update(no_key=True)
    return dict(locked.values_list("id", "status"))


def _called_off_too_late(statuses: dict[UUID, str]) -> set[UUID]:
    cancelling = [order for order, status in statuses.items() if status == Status.CANCELLING]
    plans = Order.objects.filter(id__in=cancelling).values_list("id", "plan")
    return {order for order, plan in plans if not cancels_at_home(plan)}


def _refuse_fulfilled(statuses: dict[UUID, str]) -> None:
    fulfilled = [str(order) for order, status in statuses.items() if status == Status.FULFILLED]
    if fulfilled:
        raise OrderAlreadyFulfilled(
            f"These orders are fulfilled and cannot be cancelled: {', '.join(fulfilled)}."
        )
