"""The write operations of orders: place an order, cancel one.

Each is one transaction, and none waits for the broker.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from msgspec import UNSET, Meta, Struct, UnsetType

from api.problems.exceptions import FieldError, InvalidInput
from api.resources.records import KeyInFlight, fingerprint_of, is_taken
from orders.catalogue import LineWanted, Priced, price, require_amount
from orders.events import LineOrdered, OrderCancelling, OrderCreated
from orders.free_products import least_amount
from orders.models import CURRENCY_PATTERN, MAX_AMOUNT, IdempotencyKey, Order, OrderLine
from orders.placing import Answer, Origin, insert_cte, lookup
from orders.saga import chosen_saga
from orders.status import OPEN, Status, may_become
from sagas.failpoints import Point, reach
from sagas.lifecycle import (
    CancelRequest,
    CancelResult,
    cancel_before_pivot,
    cancels_at_home,
    request_cancel,
    start,
)

__all__ = [
    "MAX_LINES",
    "AmountChanged",
    "NewOrder",
    "OrderFulfilledError",
    "Placed",
    "cancel_order",
    "place_order",
]

MAX_LINES = 100


class NewOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to be placed. `payment_method` is the gateway's name for it, never card data."""

    lines: Annotated[
        tuple[LineWanted, ...],
        Meta(
            min_length=1,
            max_length=MAX_LINES,
            description="Each SKU once. All products must have the same currency.",
        ),
    ]
    payment_method: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=100,
                description="The gateway's name for it, like `pm_card_visa`. Only an order whose "
                "amount is 0 may leave it out.",
            ),
        ]
        | UnsetType
    ) = UNSET

    expected_amount: (
        Annotated[
            int,
            Meta(
                le=MAX_AMOUNT,
                description="The amount that the customer agreed to, in minor units. The order is "
                "placed only with this amount.",
                extra_json_schema={"minimum": 0},  # `_require_allowed` checks it, by a setting
            ),
        ]
        | UnsetType
    ) = UNSET
    expected_currency: (
        Annotated[
            str,
            Meta(
                pattern=CURRENCY_PATTERN,
                description="The currency that the customer agreed to: ISO 4217, lower-case. The "
                "order is placed only with this currency.",
            ),
        ]
        | UnsetType
    ) = UNSET

    def expects(self, priced: Priced) -> bool:
        """Tell whether the customer agreed to this amount and currency. An unset one is not
        compared.
        """
        return self.expected_amount in (UNSET, priced.amount) and self.expected_currency in (
            UNSET,
            priced.currency,
        )

    def fingerprint(self) -> str:
        """Return a hash that is the same for every JSON spelling of this order.

        An unset field is no part of it, so it equals that of releases without the field.
        """
        return fingerprint_of(self)


class Placed(Struct, frozen=True):
    """A placed order and its answer. `replayed` means that the key was used before."""

    order_id: str
    body: str
    replayed: bool


class AmountChanged(Exception):
    """The order has another amount or currency than the customer agreed to; nothing is placed.

    `amount` is in minor units of `currency`: the values of the catalogue.
    """

    def __init__(self, priced: Priced) -> None:
        self.amount, self.currency = priced.amount, priced.currency
        super().__init__(f"The order has the amount {priced.amount} in {priced.currency}.")


class OrderFulfilledError(Exception):
    """The order is fulfilled, so it cannot be cancelled."""


def place_order(*, user_id: int, key: str, new: NewOrder, render: Callable[[Order], str]) -> Placed:
    """Place an order, or return the stored answer to its idempotency key.

    `render` makes the answer, which is stored with the key. Raises `InvalidInput`,
    `NotChargeable`, `AmountChanged`, `KeyInFlight` or `KeyReused`. After these, the key is as free
    as before.
    """
    try:
        with transaction.atomic():
            placed = _place(user_id, key, new, render)
    except IntegrityError as error:
        if is_taken(error, IdempotencyKey):
            raise KeyInFlight from error
        raise

    if not placed.replayed:
        reach(Point.NOT_ANSWERED, OrderCreated.type)
    return placed


def cancel_order(order: Order, *, reason: OrderCancelling | None = None) -> Order:
    """Cancel an order before its pivot, and return its new state. Raises `OrderFulfilledError`.

    `reason` is shown to the customer; the default says that they cancelled it themselves. If the
    pivot is in another service, that service decides, and may decide that it is too late. The order
    is `cancelling` until then.
    """
    # A cancelled order is final, and its inbox row may be purged, so the inbox is not consulted.
    if order.status == Status.CANCELLED:
        return order
    if order.status == Status.FULFILLED:
        raise OrderFulfilledError

    reason = reason or OrderCancelling()
    with transaction.atomic():
        if cancels_at_home(order.plan):
            cancelled = _cancel_here(order, reason)
        else:
            _request_cancel(order, reason)
            cancelled = True  # as far as this service knows
    reach(Point.NOT_ANSWERED, OrderCancelling.type)

    order.refresh_from_db()
    if order.status == Status.FULFILLED or not cancelled:
        raise OrderFulfilledError
    return order


def _place(user_id: int, key: str, new: NewOrder, render: Callable[[Order], str]) -> Placed:
    found = lookup(user_id, key, [line.sku for line in new.lines])
    fingerprint = new.fingerprint()
    if found.stored:
        body = found.stored.answer_to(fingerprint)
        return Placed(str(found.stored.resource), body, replayed=True)

    _require_allowed(new)
    # The order keeps these prices, so a price that changes from here on cannot reach it.
    priced = price(new.lines, found.prices)
    if not new.expects(priced):
        raise AmountChanged(priced)

    if priced.amount and not new.payment_method:
        raise _payment_method_missing()

    saga = chosen_saga()
    order = _order(user_id, new.payment_method or "", priced, found.at)
    created = _created(order)
    answer = Answer(key, fingerprint, render(order))

    plan = saga.plan_for(created)
    rows = insert_cte(order, plan, created.lines, answer)
    origin = Origin(customer=str(user_id), idempotency_key=key, fingerprint=fingerprint)
    start(
        saga,
        saga=order.id,
        started_at=order.created_at,
        event=created,
        headers=origin.headers(),
        with_rows=rows,
        plan=plan,
    )
    return Placed(str(order.id), answer.body, replayed=False)


def _require_allowed(new: NewOrder) -> None:
    """Raise `InvalidInput` for a request that only a shop with free products takes.

    A repeated request has its stored answer even if the setting was switched off since.
    """
    require_amount("expected_amount", new.expected_amount)
    if not new.payment_method and least_amount() > 0:
        raise _payment_method_missing()


def _payment_method_missing() -> InvalidInput:
    return InvalidInput(FieldError("payment_method", "required", "This field is required."))


def _cancel_here(order: Order, reason: OrderCancelling) -> bool:
    """Bar the pivot, and tell whether it is barred.

    The order is locked after the inbox row, because the pivot's step locks them in that order.
    """
    result = cancel_before_pivot(_cancel_request(order, reason))
    if result is CancelResult.OURS:
        _mark_cancelling(order, reason)
    return result is not CancelResult.DONE


def _request_cancel(order: Order, reason: OrderCancelling) -> None:
    """Ask the pivot's service to bar the pivot: once, when the order becomes `cancelling`."""
    if _mark_cancelling(order, reason):
        request_cancel(_cancel_request(order, reason))


def _cancel_request(order: Order, reason: OrderCancelling) -> CancelRequest:
    return CancelRequest(
        saga=order.id,
        plan=order.plan,
        started_at=order.created_at,
        context=_created(order).facts(),
        event=reason,
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
    """Return the event of an order's creation: the context that all steps of its saga read."""
    return OrderCreated(
        amount=order.amount,
        currency=order.currency,
        payment_method=order.payment_method,
        lines=tuple(
            LineOrdered(line.sku, line.quantity, line.unit_amount) for line in order.placed_lines
        ),
    )


def _mark_cancelling(order: Order, reason: OrderCancelling) -> bool:
    """Set the status to `cancelling`; tell whether this call changed it."""
    before = [status for status in OPEN if may_become(status, Status.CANCELLING)]
    changed = Order.objects.filter(id=order.id, status__in=before).update(
        status=Status.CANCELLING,
        failure_code=reason.code,
        failure_detail=reason.detail,
        updated_at=Now(),
    )
    return changed > 0
