"""The step `payments.refund_part`: give back a part of an order's payment, for another saga.

It runs after the pivot of that saga, such as a return. So it never refuses, and is never undone.
The saga's id is the scope of the refund: one refund for each saga. An accepted amount of 0, as of
free products, has no refund: the gateway is not asked, and no row is written.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import Meta, Struct

from payments.deadlines import Deadline
from payments.events import PaymentPartlyRefunded, PaymentUndecided
from payments.gateway_requests import CALL_BUDGET, GatewayRouter, default_limit, destination
from payments.gateways.base import (
    Declined,
    KeySpent,
    PartRefundAnswer,
    PartRefunded,
    PartRefundRequest,
    Pending,
    Unanswered,
)
from payments.models import PartialRefund, Payment
from payments.partial_refunds import (
    NewPartialRefund,
    Opened,
    complete_by_hand,
    open_partial_refunds,
    record_answers,
    request_of,
    start_refund_deadlines,
)
from payments.services import payments_of
from sagas import Batch, Delivery, ExternalStep, From, Limit, action
from sagas.currencies import with_currency
from sagas.manual import ManualCompletion, ManualCompletionRefused, ManualConfirmation
from sagas.outcomes import Outcome, Retry, Unknown, Waiting

__all__ = ["AcceptedAmount", "PartToRefund", "RefundPart", "part_refunded_by_hand"]


NOTHING = "Nothing is to be refunded. The step only needs to run again."


class AcceptedAmount(Struct, frozen=True):
    """The amount that the saga's pivot has accepted, in minor units of `currency`."""

    amount: Annotated[int, Meta(ge=0)]
    currency: Annotated[str, Meta(pattern="^[a-z]{3}$")]


class PartToRefund(Struct, frozen=True):
    """The part of the saga's context that payments reads.

    `order_id` is the order whose payment is given back in part.
    """

    order_id: UUID
    accepted: Annotated[AcceptedAmount, From("returns.accept")]


class PartRefundPlan(Struct, frozen=True):
    """The request for a part; without one, the `reason` why the gateway is not asked."""

    request: PartRefundRequest | None
    reason: str = ""


def part_refunded_by_hand(
    delivery: Delivery[PartToRefund], confirmation: ManualConfirmation
) -> PaymentPartlyRefunded:
    """Commit a refund of the part that a person has made. Raise ManualCompletionRefused unless we
    know that the charge was captured, and for an amount of 0.
    """
    if not delivery.context.accepted.amount:
        raise ManualCompletionRefused(NOTHING)
    opened = open_partial_refunds([_new(delivery)])[delivery.saga]
    if opened.payment is None or opened.refund is None:
        raise ManualCompletionRefused(opened.reason)
    complete_by_hand(opened.refund, confirmation.reference)
    return PaymentPartlyRefunded(
        payment_id=opened.payment.id,
        refund_id=confirmation.reference,
        amount=delivery.context.accepted.amount,
        currency=opened.refund.currency,
    )


@action(
    "payments.refund_part",
    accepts=PartToRefund,
    returns=PaymentPartlyRefunded,
    manual=ManualCompletion(record=part_refunded_by_hand, reference="gateway's id of the refund"),
)
class RefundPart(ExternalStep[PartToRefund, PartRefundPlan, PartRefundAnswer]):
    """Give back the accepted amount once, at most the rest of the charge."""

    name: ClassVar = "payments.refund_part"
    budget = CALL_BUDGET

    def prepare(self, batch: Batch[PartToRefund]) -> list[PartRefundPlan]:
        """Commit the refunds as pending, with their idempotency keys."""
        wanted = [delivery for delivery in batch if delivery.context.accepted.amount]
        opened = open_partial_refunds([_new(delivery) for delivery in wanted])
        plans = {saga: _plan(each) for saga, each in opened.items()}
        return [plans.get(delivery.saga, PartRefundPlan(None, NOTHING)) for delivery in batch]

    def destination(self, request: PartRefundPlan) -> str | None:
        """Return the name of the payment's gateway, unless it answers at once or is not asked."""
        return destination(request.request) if request.request else None

    def limit(self, key: str) -> Limit | None:
        """Return the default limit of the gateway."""
        return default_limit(key)

    def call(self, requests: Sequence[PartRefundPlan]) -> list[PartRefundAnswer]:
        """Send the requests, each to the gateway of its payment."""
        asked = [plan.request for plan in requests if plan.request]
        answers = GatewayRouter().send(lambda gateway: gateway.refund_part, asked)
        return [
            answers[plan.request.key] if plan.request else Unanswered(plan.reason)
            for plan in requests
        ]

    def record(
        self, batch: Batch[PartToRefund], answers: Sequence[PartRefundAnswer]
    ) -> list[Outcome]:
        """Commit the gateway's answers, and a deadline where one is undecided."""
        by_saga = dict(zip((delivery.saga for delivery in batch), answers, strict=True))
        refunds = record_answers(by_saga)
        deadlines = start_refund_deadlines(by_saga)
        payments = payments_of({delivery.context.order_id for delivery in batch})

        outcomes: list[Outcome] = []
        for delivery in batch:
            saga, answer = delivery.saga, by_saga[delivery.saga]
            refund = refunds.get(saga)
            if not delivery.context.accepted.amount:
                outcomes.append(_nothing_refunded(delivery, payments))
            elif refund is None:  # its payment was not known as captured
                outcomes.append(_without_refund(answer))
            else:
                payment = payments[refund.order_id]
                outcomes.append(_outcome(refund, payment, answer, deadlines.get(saga)))
        return outcomes


def _new(delivery: Delivery[PartToRefund]) -> NewPartialRefund:
    accepted = delivery.context.accepted
    return NewPartialRefund(
        id=delivery.saga,
        order_id=delivery.context.order_id,
        amount=accepted.amount,
        currency=accepted.currency,
    )


def _plan(opened: Opened) -> PartRefundPlan:
    if opened.payment is None or opened.refund is None or opened.reason:
        return PartRefundPlan(None, opened.reason)
    return PartRefundPlan(request_of(opened.refund, opened.payment))


def _nothing_refunded(
    delivery: Delivery[PartToRefund], payments: Mapping[UUID, Payment]
) -> Outcome:
    payment = payments.get(delivery.context.order_id)
    if payment is None:
        return Unknown(f"The payment of order {delivery.context.order_id} is not known.")
    return PaymentPartlyRefunded(
        payment_id=payment.id,
        refund_id="",
        amount=0,
        currency=delivery.context.accepted.currency,
    )


def _without_refund(answer: PartRefundAnswer) -> Outcome:
    return Unknown(answer.reason if isinstance(answer, Unanswered) else "The refund has no row.")


def _outcome(
    refund: PartialRefund, payment: Payment, answer: PartRefundAnswer, deadline: Deadline | None
) -> Outcome:
    match answer:
        case PartRefunded(refund_id, amount):
            return PaymentPartlyRefunded(
                payment_id=payment.id,
                refund_id=refund_id,
                amount=amount,
                currency=refund.currency,
                covered=refund.asked_amount - amount,
            )
        case Declined(code, detail):
            return Retry(f"The gateway declined to refund {_money(refund)}: {code}. {detail}")
        case Pending() if deadline:
            return _wait(refund, payment, answer, deadline)
        case Pending(reason) | KeySpent(reason):
            return Unknown(reason)
        case Unanswered(reason, retry_after):
            return Unknown(reason, retry_after)


def _wait(
    refund: PartialRefund, payment: Payment, answer: Pending, deadline: Deadline
) -> Unknown | Waiting:
    if deadline.seconds_left <= 0:
        return Unknown(
            f"{answer.reason} The decision on the refund of {_money(refund)} was due at "
            f"{deadline.expires_at:%Y-%m-%d %H:%M} UTC. Look it up at the gateway.",
            deadline.overdue_poll_delay(),
        )
    notice = PaymentUndecided(
        payment_id=payment.id, subject="refund", waits_until=deadline.expires_at
    )
    return Waiting(answer.reason, deadline.poll_delay(), notice if deadline.is_new else None)


def _money(refund: PartialRefund) -> str:
    return f"{with_currency(refund.amount, refund.currency)} of order {refund.order_id}"
