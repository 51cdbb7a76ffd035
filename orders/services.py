"""What the API asks of orders: place one, call one off. Each is one transaction, and none waits for the broker."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from msgspec import Meta, Struct

from orders import idempotency
from orders.catalogue import LineWanted, Priced, price
from orders.events import LineOrdered, OrderCancelling, OrderCreated
from orders.models import Order, OrderLine
from orders.saga import chosen_saga
from orders.status import OPEN, Status, may_become
from sagas import sql
from sagas.failpoints import Point, reach
from sagas.lifecycle import Barred, CallOff, ask_to_bar_pivot, bar_pivot, decides_itself, start
from sagas.messages import to_json
from sagas.plan import Saga

# One statement: a round trip costs more than what it carries. The answer is kept with what it tells of.
PLACE = """
WITH placed AS (
  INSERT INTO orders_order (id, user_id, status, amount, currency, payment_method, plan, created_at, updated_at,
                            rescue_at, redrives, needs_attention, failure_code, failure_detail)
  VALUES (%(id)s, %(user)s, 'pending', %(amount)s, %(currency)s, %(payment_method)s, %(plan)s, %(at)s, %(at)s,
          %(at)s + make_interval(secs => %(stall)s), 0, false, '', '')
), with_lines AS (
  INSERT INTO orders_orderline (order_id, sku, quantity, unit_amount)
  SELECT %(id)s, sku, quantity, unit_amount
    FROM jsonb_to_recordset(%(lines)s::jsonb) AS line(sku text, quantity int, unit_amount bigint)
)
INSERT INTO orders_idempotencykey (user_id, key, fingerprint, order_id, body, created_at)
VALUES (%(user)s, %(key)s, %(fingerprint)s, %(id)s, %(body)s, %(at)s)
"""

__all__ = ["MAX_LINES", "NewOrder", "OrderFulfilledError", "Placed", "cancel_order", "place_order"]

MAX_LINES = 100


class NewOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer wants. `payment_method` is the gateway's name for how it is paid, never card data."""

    lines: Annotated[
        tuple[LineWanted, ...],
        Meta(min_length=1, max_length=MAX_LINES, description="Each SKU once, all in one currency."),
    ]
    payment_method: Annotated[
        str, Meta(min_length=1, max_length=100, description="As the gateway names it, like `pm_card_visa`.")
    ]

    def fingerprint(self) -> str:
        """Return what tells this request from another, however either is spelled in JSON."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class Placed(Struct, frozen=True):
    """The order that was placed, and the answer to send: the very same when the key was used before."""

    order_id: str
    body: str
    replayed: bool


class OrderFulfilledError(Exception):
    """The order is fulfilled: it is too late to cancel it."""


def place_order(*, user_id: int, key: str, new: NewOrder, render: Callable[[Order], str]) -> Placed:
    """Place an order, or return the answer that its idempotency key got before.

    `render` makes the answer; it is kept with the key. Raises `InvalidInput`, `KeyInFlight` or `KeyReused`.
    """
    with transaction.atomic():
        now = idempotency.hold(user_id, key)
        fingerprint = new.fingerprint()
        if known := idempotency.recall(user_id, key, fingerprint):
            return Placed(str(known.order_id), known.body, replayed=True)
        saga = chosen_saga()
        order = _order(user_id, new.payment_method, price(new.lines), now)
        body = render(order)
        _insert(order, saga, key=key, fingerprint=fingerprint, body=body)
        start(saga, saga=order.id, started_at=order.created_at, event=_created(order))
    reach(Point.NOT_ANSWERED, OrderCreated.type)
    return Placed(str(order.id), body, replayed=False)


def cancel_order(order: Order, *, reason: OrderCancelling | None = None) -> Order:
    """Call an order off if its pivot has not happened, and return it as it is then.

    `reason` is what the customer is told; by default that they called it off themselves. Raises `OrderFulfilledError`.
    Where the pivot lies in another service, that is asked, and may find that it is too late: the order is `cancelling`
    until it is cancelled, or fulfilled after all.
    """
    if order.status == Status.CANCELLED:  # for good, so there is no need to ask the inbox, which forgets after a while
        return order
    if order.status == Status.FULFILLED:
        raise OrderFulfilledError
    told = reason or OrderCancelling()
    with transaction.atomic():
        if decides_itself(order.plan):
            is_called_off = _call_off(order, told)
        else:
            _ask_to_call_off(order, told)
            is_called_off = True  # as far as is known here
    reach(Point.NOT_ANSWERED, OrderCancelling.type)
    order.refresh_from_db()
    if order.status == Status.FULFILLED or not is_called_off:
        raise OrderFulfilledError
    return order


def _call_off(order: Order, reason: OrderCancelling) -> bool:
    """Bar the pivot and tell whether it is barred; before the order is locked, as its step locks them in that order."""
    verdict = bar_pivot(_wish(order, reason))
    if verdict is Barred.OURS:
        _mark_cancelling(order, reason)
    return verdict is not Barred.DONE


def _ask_to_call_off(order: Order, reason: OrderCancelling) -> None:
    """Ask once that the pivot be barred: whoever marks the order as being cancelled does."""
    if _mark_cancelling(order, reason):
        ask_to_bar_pivot(_wish(order, reason))


def _wish(order: Order, reason: OrderCancelling) -> CallOff:
    context = _created(order).facts()
    return CallOff(saga=order.id, plan=order.plan, started_at=order.created_at, context=context, event=reason)


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


def _insert(order: Order, saga: Saga, *, key: str, fingerprint: str, body: str) -> None:
    params = {
        "id": order.id,
        "user": order.user_id,
        "amount": order.amount,
        "currency": order.currency,
        "payment_method": order.payment_method,
        "plan": to_json(saga.plan),
        "at": order.created_at,
        "stall": settings.SAGA_STALL_SECONDS,
        "lines": to_json(_created(order).lines),
        "key": key,
        "fingerprint": fingerprint,
        "body": body,
    }
    sql.run("default", PLACE, params)


def _created(order: Order) -> OrderCreated:
    """Return the event that tells of an order: what all steps of its saga read."""
    return OrderCreated(
        amount=order.amount,
        currency=order.currency,
        payment_method=order.payment_method,
        lines=tuple(LineOrdered(line.sku, line.quantity, line.unit_amount) for line in order.placed_lines),
    )


def _mark_cancelling(order: Order, reason: OrderCancelling) -> int:
    """Show that the order is being cancelled, unless the timeline has, and why, before; return how many we changed."""
    rising = [status for status in OPEN if may_become(status, Status.CANCELLING)]
    return Order.objects.filter(id=order.id, status__in=rising).update(
        status=Status.CANCELLING, failure_code=reason.code, failure_detail=reason.detail, updated_at=Now()
    )
