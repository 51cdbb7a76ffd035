"""Payments' part in a saga: charge the order, and make sure that nothing of its money is left with us."""

from collections.abc import Callable, Sequence
from typing import Annotated, Protocol, TypeVar
from uuid import UUID

from msgspec import Meta, Struct

from payments.events import PaymentFailed, PaymentProcessed, PaymentRefunded
from payments.gateways import get_gateway
from payments.gateways.base import (
    Absent,
    Captured,
    ChargeAnswer,
    ChargeRequest,
    Declined,
    RefundAnswer,
    Refunded,
    RefundRequest,
    Unanswered,
    Voided,
)
from payments.models import Payment
from payments.services import NewPayment, Settlement, lock_payments, open_payments, payments_of, settle
from sagas.steps import Batch, Delivery, External, Outcome, Retry, Unknown, action, undo

__all__ = ["Charge", "OrderToCharge", "Purchase", "Refund", "Reversal", "Reversed"]

Status = Payment.Status


class OrderToCharge(Struct, frozen=True):
    """What payments reads of the saga's context. `amount` is in minor units of `currency` (lower-case ISO 4217)."""

    amount: Annotated[int, Meta(gt=0)]
    currency: Annotated[str, Meta(pattern="^[a-z]{3}$")]
    payment_method: Annotated[str, Meta(min_length=1, max_length=100)]


class Purchase(Struct, frozen=True):
    """A charge to be made. `asked_before`: the gateway may know of it, and its answer was lost."""

    charge: ChargeRequest
    asked_before: bool


@action("payments.charge", accepts=OrderToCharge, refusal=PaymentFailed)
class Charge(External[OrderToCharge, Purchase, ChargeAnswer]):
    """Take the order's amount, once."""

    def prepare(self, batch: Batch[OrderToCharge]) -> list[Purchase]:
        """Commit the payments, pending, with the keys they will be charged under."""
        wanted = {delivery.saga: _new_payment(delivery) for delivery in batch}
        opened = open_payments(list(wanted.values()))
        known = payments_of(wanted.keys() - opened)
        return [
            Purchase(_charge_of(known.get(order, new)), asked_before=order not in opened)
            for order, new in wanted.items()
        ]

    def call(self, requests: Sequence[Purchase]) -> list[ChargeAnswer]:
        """Charge; but where an answer was lost, look it up first: a replayed 500 proves nothing."""
        gateway = get_gateway()
        found = _ask(gateway.find, [purchase.charge for purchase in requests if purchase.asked_before])
        known = {key: answer for key, answer in found.items() if not isinstance(answer, Absent)}
        charged = _ask(gateway.charge, [purchase.charge for purchase in requests if purchase.charge.key not in known])
        answers = known | charged
        return [answers[purchase.charge.key] for purchase in requests]

    def record(self, batch: Batch[OrderToCharge], answers: Sequence[ChargeAnswer]) -> list[Outcome]:
        """Commit what the gateway said."""
        answered = dict(zip((delivery.saga for delivery in batch), answers, strict=True))
        payments = lock_payments(list(answered))
        settle(payments, [settled for order, answer in answered.items() if (settled := _charged(order, answer))])
        return [_charge_outcome(payments[order], answer) for order, answer in answered.items()]


class Reversal(Struct, frozen=True):
    """A charge to be undone. `captured` is what we know was captured; None where only the gateway can tell."""

    charge: ChargeRequest
    refund_key: str
    captured: Captured | None


class Reversed(Struct, frozen=True):
    """What had become of a charge that was to be undone, and of its refund where it had been captured."""

    charge: ChargeAnswer
    refund: RefundAnswer | None


@undo("payments.refund", accepts=OrderToCharge)
class Refund(External[OrderToCharge, Reversal, Reversed]):
    """Bar the charge for ever unless it is known to be done, then give back what it captured.

    A worker may still be about to charge, so the gateway is asked to void the key even where we never used it.
    """

    def prepare(self, batch: Batch[OrderToCharge]) -> list[Reversal]:
        """Commit a payment for each order, so that there is a row for whatever the gateway turns out to know."""
        open_payments([_new_payment(delivery) for delivery in batch])
        payments = payments_of([delivery.saga for delivery in batch])
        return [_reversal_of(payments[delivery.saga]) for delivery in batch]

    def call(self, requests: Sequence[Reversal]) -> list[Reversed]:
        """Fence, ask, refund."""
        gateway = get_gateway()
        charges: dict[str, ChargeAnswer] = {
            reversal.charge.key: reversal.captured for reversal in requests if reversal.captured
        }
        charges |= _ask(gateway.void, [reversal.charge for reversal in requests if not reversal.captured])
        refunds = _ask(
            gateway.refund,
            [
                _refund_of(reversal, captured)
                for reversal in requests
                if isinstance(captured := charges[reversal.charge.key], Captured)
            ],
        )
        return [Reversed(charges[reversal.charge.key], refunds.get(reversal.refund_key)) for reversal in requests]

    def record(self, batch: Batch[OrderToCharge], answers: Sequence[Reversed]) -> list[Outcome]:
        """Commit what the gateway said."""
        answered = dict(zip((delivery.saga for delivery in batch), answers, strict=True))
        payments = lock_payments(list(answered))
        settle(payments, [settled for order, answer in answered.items() if (settled := _reversed(order, answer))])
        return [_refund_outcome(payments[order], answer) for order, answer in answered.items()]


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


K = TypeVar("K", bound=_Keyed)
A = TypeVar("A")


def _ask(method: Callable[[Sequence[K]], list[A]], requests: Sequence[K]) -> dict[str, A]:
    """Return a gateway's answers by key; do not trouble it with nothing."""
    return dict(zip((request.key for request in requests), method(requests), strict=True)) if requests else {}


def _new_payment(delivery: Delivery[OrderToCharge]) -> NewPayment:
    order = delivery.context
    return NewPayment(delivery.saga, order.amount, order.currency, order.payment_method)


def _charge_of(payment: Payment | NewPayment) -> ChargeRequest:
    return ChargeRequest(payment.charge_key, payment.order_id, payment.amount, payment.currency, payment.payment_method)


def _reversal_of(payment: Payment) -> Reversal:
    captured = Captured(payment.charge_id, payment.amount) if payment.charge_id else None
    return Reversal(_charge_of(payment), payment.refund_key, captured)


def _refund_of(reversal: Reversal, captured: Captured) -> RefundRequest:
    charge = reversal.charge
    return RefundRequest(reversal.refund_key, charge.order_id, captured.charge_id, captured.amount, charge.currency)


def _charged(order: UUID, answer: ChargeAnswer) -> Settlement | None:
    match answer:
        case Captured(charge_id):
            return Settlement(order_id=order, status=Status.CAPTURED, charge_id=charge_id)
        case Declined(code):
            return Settlement(order_id=order, status=Status.DECLINED, decline_code=code)
        case Voided():
            return Settlement(order_id=order, status=Status.VOID)
        case Unanswered():
            return None


def _charge_outcome(payment: Payment, answer: ChargeAnswer) -> Outcome:
    match answer:
        case Captured(charge_id, amount):
            return PaymentProcessed(
                payment_id=payment.id, charge_id=charge_id, amount=amount, currency=payment.currency
            )
        case Declined(code, detail):
            return PaymentFailed(detail=detail, decline_code=code)
        case Voided():
            return PaymentFailed(detail="The payment was cancelled.", decline_code="voided")
        case Unanswered(reason):
            return Unknown(reason)


def _reversed(order: UUID, answer: Reversed) -> Settlement | None:
    match answer.charge, answer.refund:
        case Captured(charge_id), Refunded(amount=amount):
            return Settlement(order_id=order, status=Status.REFUNDED, charge_id=charge_id, refunded_amount=amount)
        case Captured(), _:
            return None
        case charge, _:
            return _charged(order, charge)


def _refund_outcome(payment: Payment, answer: Reversed) -> Outcome:
    match answer.charge, answer.refund:
        case (Unanswered(reason), _) | (_, Unanswered(reason)):
            return Unknown(reason)
        case _, Declined(code, detail):
            return Retry(f"The gateway declined the refund ({code}): {detail}")
        case _, Refunded(amount=amount):
            return PaymentRefunded(payment_id=payment.id, amount=amount, currency=payment.currency)
    return PaymentRefunded(payment_id=payment.id, amount=0, currency=payment.currency)
