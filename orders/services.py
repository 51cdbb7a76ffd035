"""What the API asks of orders: place one, call one off. Each is one transaction, and none waits
for the broker.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from msgspec import Meta, Struct

from orders.catalogue import LineWanted, Priced, price
from orders.events import LineOrdered, OrderCancelling, OrderCreated
from orders.idempotency import KeyInFlight, is_taken
from orders.models import Order, OrderLine
from orders.placing import Answer, look, rows
from orders.saga import chosen_saga
from orders.status import OPEN, Status, may_become
from sagas.lifecycle import (
    CancelRequest,
    CancelResult,
    cancel_before_pivot,
    cancels_at_home,
    request_cancel,
    start,
)
from sagas.testing.failpoints import Point, reach

__all__ = ["MAX_LINES", "NewOrder", "OrderFulfilledError", "Placed", "cancel_order", "place_order"]

MAX_LINES = 100


class NewOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer wants. `payment_method` is the gateway's name for how it is paid, never
    card data.
    """

    lines: Annotated[
        tuple[LineWanted, ...],
        Meta(min_length=1, max_length=MAX_LINES, description="Each SKU once, all in one currency."),
    ]
    payment_method: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description="As the gateway names it, like `pm_card_visa`.",
        ),
    ]

    def fingerprint(self) -> str:
        """Return what tells this request from another, however either is spelled in JSON."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class Placed(Struct, frozen=True):
    """The order that was placed, and the answer to send: the very same when the key was used
    before.
    """

    order_id: str
    body: str
    replayed: bool


class OrderFulfilledError(Exception):
    """The order is fulfilled: it is too late to cancel it."""


def place_order(*, user_id: int, key: str, new: NewOrder, render: Callable[[Order], str]) -> Placed:
    """Place an order, or return the answer that its idempotency key got before.

    `render` makes the answer; it is kept with the key. Raises `InvalidInput`, `KeyInFlight` or
    `KeyReused`.
    """
    try:
        with transaction.atomic():
            placed = _place(user_id, key, new, render)
    except IntegrityError as error:
        if is_taken(error):
            raise KeyInFlight from error
        raise
    if not placed.replayed:
        reach(Point.NOT_ANSWERED, OrderCreated.type)
    return placed


def cancel_order(order: Order, *, reason: OrderCancelling | None = None) -> Order:
    """Call an order off if its pivot has not happened, and return it as it is then.

    `reason` is what the customer is told; by default that they called it off themselves. Raises
    `OrderFulfilledError`. Where the pivot lies in another service, that is asked, and may find that
    it is too late: the order is `cancelling` until it is cancelled, or fulfilled after all.
    """
    if (
        order.status == Status.CANCELLED
    ):  # for good, so there is no need to ask the inbox, which forgets after a while
        return order
    if order.status == Status.FULFILLED:
        raise OrderFulfilledError
    told = reason or OrderCancelling()
    with transaction.atomic():
        if cancels_at_home(order.plan):
            is_called_off = _call_off(order, told)
        else:
            _ask_to_call_off(order, told)
            is_called_off = True  # as far as is known here
    reach(Point.NOT_ANSWERED, OrderCancelling.type)
    order.refresh_from_db()
    if order.status == Status.FULFILLED or not is_called_off:
        raise OrderFulfilledError
    return order


def _place(user_id: int, key: str, new: NewOrder, render: Callable[[Order], str]) -> Placed:
    found, fingerprint = look(user_id, key, [line.sku for line in new.lines]), new.fingerprint()
    if found.known:
        return Placed(str(found.known.order_id), found.known.answer_to(fingerprint), replayed=True)
    saga = chosen_saga()
    order = _order(user_id, new.payment_method, price(new.lines, found.prices), found.at)
    created, answer = _created(order), Answer(key, fingerprint, render(order))
    with_rows = rows(order, saga.plan, created.lines, answer)
    start(saga, saga=order.id, started_at=order.created_at, event=created, with_rows=with_rows)
    return Placed(str(order.id), answer.body, replayed=False)


def _call_off(order: Order, reason: OrderCancelling) -> bool:
    """Bar the pivot and tell whether it is barred; before the order is locked, as its step locks
    them in that order.
    """
    verdict = cancel_before_pivot(_wish(order, reason))
    if verdict is CancelResult.OURS:
        _mark_cancelling(order, reason)
    return verdict is not CancelResult.DONE


def _ask_to_call_off(order: Order, reason: OrderCancelling) -> None:
    """Ask once that the pivot be barred: whoever marks the order as being cancelled does."""
    if _mark_cancelling(order, reason):
        request_cancel(_wish(order, reason))


def _wish(order: Order, reason: OrderCancelling) -> CancelRequest:
    context = _created(order).facts()
    return CancelRequest(
        saga=order.id, plan=order.plan, started_at=order.created_at, context=context, event=reason
    )


def _order(user_id: int, payment_method: str, priced: Priced, now: datetime) -> Order:
    order = Order(
        user_id=user_id,
        amount=priced.amount,
        currency=priced.currency,
        payment_method=payment_method,
        created_at=now,
        updated_at=now,
    )
    order.placed_lines = [
        OrderLine(order=order, sku=line.sku, quantity=line.quantity, unit_amount=line.unit_amount)
        for line in priced.lines
    ]
    return order


def _created(order: Order) -> OrderCreated:
    """Return the event that tells of an order: what all steps of its saga read."""
    return OrderCreated(
        amount=order.amount,
        currency=order.currency,
        payment_method=order.payment_method,
        lines=tuple(
            LineOrdered(line.sku, line.quantity, line.unit_amount) for line in order.placed_lines
        ),
    )


def _mark_cancelling(order: Order, reason: OrderCancelling) -> int:
    """Show that the order is being cancelled, unless the timeline has, and why, before; return
    how many we changed.
    """
    rising = [status for status in OPEN if may_become(status, Status.CANCELLING)]
    return Order.objects.filter(id=order.id, status__in=rising).update(
        status=Status.CANCELLING,
        failure_code=reason.code,
        failure_detail=reason.detail,
        updated_at=Now(),
    )
