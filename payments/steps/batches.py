"""The shared parts of the payment steps: their context, and the work on one batch."""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar
from uuid import UUID

from msgspec import Meta, Struct

from payments.gateway_requests import ChargeAttempt, GatewayRouter
from payments.gateways.base import Absent, ChargeAnswer, ChargeRequest
from payments.models import Payment
from payments.outcomes import update_after_charge
from payments.services import NewPayment, lock_payments, update_payments
from sagas import Batch, Delivery

__all__ = [
    "OrderToCharge",
    "answers_by_order",
    "find_answers",
    "new_payment",
    "record_charges",
    "unanswered_charges",
]

T = TypeVar("T")


class OrderToCharge(Struct, frozen=True):
    """The part of the saga's context that payments reads.

    `amount` is in minor units of `currency` (lower-case ISO 4217).
    """

    amount: Annotated[int, Meta(gt=0)]
    currency: Annotated[str, Meta(pattern="^[a-z]{3}$")]
    payment_method: Annotated[str, Meta(min_length=1, max_length=100)]


def new_payment(delivery: Delivery[OrderToCharge]) -> NewPayment:
    """Return the payment that a delivery opens if its order has none."""
    order = delivery.context
    return NewPayment(
        order_id=delivery.saga,
        amount=order.amount,
        currency=order.currency,
        payment_method=order.payment_method,
        saga_started_at=delivery.started_at,
    )


def answers_by_order(batch: Batch[OrderToCharge], answers: Sequence[T]) -> dict[UUID, T]:
    """Return the answers of a batch by order id."""
    orders = (delivery.saga for delivery in batch)
    return dict(zip(orders, answers, strict=True))


def find_answers(
    router: GatewayRouter,
    attempts: Sequence[ChargeAttempt],
    *,
    unfinished: tuple[type[Struct], ...] = (),
) -> dict[str, ChargeAnswer]:
    """Look up the charges that may have been sent before; return the final answers by key.

    Answers of an `unfinished` type are left out, because the step has still to send its request.
    """
    sent_before = [attempt.charge for attempt in attempts if attempt.sent_before]
    found = router.send(lambda gateway: gateway.find, sent_before)
    present = {key: answer for key, answer in found.items() if not isinstance(answer, Absent)}
    return {key: answer for key, answer in present.items() if not isinstance(answer, unfinished)}


def unanswered_charges(
    attempts: Sequence[ChargeAttempt], answers: Mapping[str, ChargeAnswer]
) -> list[ChargeRequest]:
    """Return the charges that have no answer yet."""
    return [attempt.charge for attempt in attempts if attempt.charge.key not in answers]


def record_charges(answers: Mapping[UUID, ChargeAnswer]) -> dict[UUID, Payment]:
    """Write the answers to the payments; return these, locked, as they were before the write."""
    payments = lock_payments(list(answers))
    updates = (update_after_charge(order, answer) for order, answer in answers.items())
    update_payments(payments, [update for update in updates if update])
    return payments
