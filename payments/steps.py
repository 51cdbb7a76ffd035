"""Payments' part in a saga: charge the order, and make sure that nothing of its money is left with us."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Protocol, TypeVar
from uuid import UUID

from msgspec import Meta, Struct
from msgspec.structs import replace

from payments.actions import Deadline, await_action, overdue
from payments.events import PaymentActionRequired, PaymentFailed, PaymentProcessed, PaymentRefunded
from payments.gateways import get_gateway
from payments.gateways.base import (
    Absent,
    ActionRequired,
    Captured,
    ChargeAnswer,
    ChargeRequest,
    Declined,
    Pending,
    RefundAnswer,
    Refunded,
    RefundRequest,
    Unanswered,
    Voided,
)
from payments.models import Payment
from payments.services import NewPayment, Settlement, lock_payments, open_payments, payments_of, settle
from sagas.steps import (
    Batch,
    ByHand,
    Delivery,
    External,
    NotByHand,
    Outcome,
    Retry,
    Unknown,
    Waiting,
    Word,
    action,
    undo,
)

__all__ = [
    "Charge",
    "OrderToCharge",
    "Purchase",
    "Refund",
    "Reversal",
    "Reversed",
    "charge_of",
    "refund_outcome",
    "refunded_by_hand",
    "reversal_of",
    "settlement_of",
]

Status = Payment.Status


class OrderToCharge(Struct, frozen=True):
    """What payments reads of the saga's context. `amount` is in minor units of `currency` (lower-case ISO 4217)."""

    amount: Annotated[int, Meta(gt=0)]
    currency: Annotated[str, Meta(pattern="^[a-z]{3}$")]
    payment_method: Annotated[str, Meta(min_length=1, max_length=100)]


class Purchase(Struct, frozen=True):
    """A charge to be made.

    `asked_before`: the gateway may know of it, and its answer was lost. `overdue`: the customer was to confirm it, and
    the time for that is over.
    """

    charge: ChargeRequest
    asked_before: bool
    overdue: bool = False


@action("payments.charge", accepts=OrderToCharge, refusal=PaymentFailed)
class Charge(External[OrderToCharge, Purchase, ChargeAnswer]):
    """Take the order's amount, once."""

    def prepare(self, batch: Batch[OrderToCharge]) -> list[Purchase]:
        """Commit the payments, pending, with the keys they will be charged under."""
        wanted = {delivery.saga: _new_payment(delivery) for delivery in batch}
        opened = open_payments(list(wanted.values()))
        known = payments_of(wanted.keys() - opened)
        late = overdue(known.values())
        return [
            Purchase(charge_of(known.get(order, new)), asked_before=order not in opened, overdue=order in late)
            for order, new in wanted.items()
        ]

    def call(self, requests: Sequence[Purchase]) -> list[ChargeAnswer]:
        """Charge; but where an answer was lost, look it up first: a replayed 500 proves nothing."""
        gateway = get_gateway()
        found = _ask(gateway.find, [purchase.charge for purchase in requests if purchase.asked_before])
        known = {key: answer for key, answer in found.items() if not isinstance(answer, Absent)}
        charged = _ask(gateway.charge, [purchase.charge for purchase in requests if purchase.charge.key not in known])
        answers = known | charged
        unconfirmed = [each.charge for each in requests if each.overdue and _waits(answers[each.charge.key])]
        answers |= _ask(gateway.void, unconfirmed)
        return [answers[purchase.charge.key] for purchase in requests]

    def record(self, batch: Batch[OrderToCharge], answers: Sequence[ChargeAnswer]) -> list[Outcome]:
        """Commit what the gateway said."""
        answered = dict(zip((delivery.saga for delivery in batch), answers, strict=True))
        payments = lock_payments(list(answered))
        settle(payments, [settled for order, answer in answered.items() if (settled := _charged(order, answer))])
        deadlines = await_action([order for order, answer in answered.items() if _waits(answer)])
        return [_charge_outcome(payments[order], answer, deadlines) for order, answer in answered.items()]


class Reversal(Struct, frozen=True):
    """A charge to be undone. `captured` is what we know was captured; None where only the gateway can tell."""

    charge: ChargeRequest
    refund_key: str
    captured: Captured | None


class Reversed(Struct, frozen=True):
    """What had become of a charge that was to be undone, and of its refund where it had been captured."""

    charge: ChargeAnswer
    refund: RefundAnswer | None


def refunded_by_hand(order: Delivery[OrderToCharge], word: Word) -> PaymentRefunded:
    """Commit a refund of the whole charge that a person has made at the gateway.

    Only of a charge that is known to be captured: of any other, what would be given back only the gateway can tell.
    """
    payments = lock_payments([order.saga])
    payment = payments.get(order.saga)
    if payment is None or payment.status not in {Status.CAPTURED, Status.REFUNDED}:
        raise NotByHand("No captured charge of this order is known. The refund asks the gateway for it: let it run.")
    refund = Settlement(
        order_id=order.saga,
        status=Status.REFUNDED,
        charge_id=payment.charge_id,
        refunded_amount=payment.amount,
        refund_reference=word.reference,
    )
    settle(payments, [refund])
    return PaymentRefunded(payment_id=payment.id, amount=payment.amount, currency=payment.currency)


@undo(
    "payments.refund",
    accepts=OrderToCharge,
    by_hand=ByHand(record=refunded_by_hand, reference="gateway's id of the refund"),
)
class Refund(External[OrderToCharge, Reversal, Reversed]):
    """Bar the charge for ever unless it is known to be done, then give back what it captured.

    A worker may still be about to charge, so the gateway is asked to void the key even where we never used it.
    """

    def prepare(self, batch: Batch[OrderToCharge]) -> list[Reversal]:
        """Commit a payment for each order, so that there is a row for whatever the gateway turns out to know."""
        open_payments([_new_payment(delivery) for delivery in batch])
        payments = payments_of([delivery.saga for delivery in batch])
        return [reversal_of(payments[delivery.saga]) for delivery in batch]

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
        settle(payments, [settled for order, answer in answered.items() if (settled := settlement_of(order, answer))])
        return [refund_outcome(payments[order], answer) for order, answer in answered.items()]


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


def charge_of(payment: Payment | NewPayment) -> ChargeRequest:
    """Return the charge of a payment, as the gateway is asked for it; the key of a new one is made just now."""
    charge = ChargeRequest(
        payment.charge_key, payment.order_id, payment.amount, payment.currency, payment.payment_method
    )
    return replace(charge, opened_at=payment.created_at) if isinstance(payment, Payment) else charge


def reversal_of(payment: Payment) -> Reversal:
    """Return what it takes to have nothing of a payment left with us."""
    captured = Captured(payment.charge_id, payment.amount) if payment.charge_id else None
    return Reversal(charge_of(payment), payment.refund_key, captured)


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
        case ActionRequired() | Pending() | Unanswered():
            return None


def _waits(answer: ChargeAnswer) -> bool:
    return isinstance(answer, ActionRequired)


def _charge_outcome(payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]) -> Outcome:
    match answer:
        case Captured(charge_id, amount):
            return PaymentProcessed(
                payment_id=payment.id, charge_id=charge_id, amount=amount, currency=payment.currency
            )
        case Declined() | Voided():
            return _refusal(payment, answer)
        case ActionRequired(url):
            return _awaiting(payment, url, deadlines[payment.order_id])
        case Pending(reason):
            return Waiting(reason)
        case Unanswered(reason, retry_after):
            return Unknown(reason, retry_after)


def _refusal(payment: Payment, answer: Declined | Voided) -> PaymentFailed:
    match answer:
        case Declined(code, detail, shown):
            return PaymentFailed(detail=detail, decline_code=shown or code)
        case Voided() if payment.action_expires_at:
            return PaymentFailed(code="payment_action_expired", detail="The payment was not confirmed in time.")
    return PaymentFailed(detail="The payment was cancelled.", decline_code="voided")


def _awaiting(payment: Payment, url: str, deadline: Deadline) -> Waiting:
    told = PaymentActionRequired(payment_id=payment.id, url=url, expires_at=deadline.expires_at)
    return Waiting("The customer has to confirm the payment.", deadline.pause(), told if deadline.new else None)


def settlement_of(order: UUID, answer: Reversed) -> Settlement | None:
    """Return what is to be written of a reversal, if it says anything."""
    match answer.charge, answer.refund:
        case Captured(charge_id), Refunded(amount=amount):
            return Settlement(order_id=order, status=Status.REFUNDED, charge_id=charge_id, refunded_amount=amount)
        case Captured(charge_id), _:
            return Settlement(order_id=order, status=Status.CAPTURED, charge_id=charge_id)
        case charge, _:
            return _charged(order, charge)


def refund_outcome(payment: Payment, answer: Reversed) -> Outcome:
    """Return what a reversal means for its order."""
    match answer.charge, answer.refund:
        case (Unanswered(reason, retry_after), _) | (_, Unanswered(reason, retry_after)):
            return Unknown(reason, retry_after)
        case (Pending(reason), _) | (_, Pending(reason)):
            return Waiting(reason)
        case _, Declined(code, detail):
            return Retry(f"The gateway declined the refund ({code}): {detail}")
        case ActionRequired(), _:
            return Unknown("The gateway has not barred the charge: the customer may still confirm it.")
    amount = answer.refund.amount if isinstance(answer.refund, Refunded) else 0
    return PaymentRefunded(payment_id=payment.id, amount=amount, currency=payment.currency)
