"""What the answers of a gateway mean: for the payment that is written down, and for the saga of
its order.
"""

from collections.abc import Mapping
from uuid import UUID

from payments.customer_action import Deadline
from payments.events import (
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentFailed,
    PaymentProcessed,
    PaymentRefunded,
    PaymentVoided,
)
from payments.gateway_requests import RefundResult
from payments.gateways.base import (
    ActionRequired,
    Authorized,
    Captured,
    ChargeAnswer,
    Declined,
    Pending,
    Refunded,
    Unanswered,
    Voided,
)
from payments.models import Payment
from payments.services import Settlement
from sagas.definition.handlers import Outcome, Retry, Unknown, Waiting

__all__ = [
    "authorize_outcome",
    "capture_outcome",
    "charge_outcome",
    "refund_outcome",
    "settlement_of",
    "settlement_of_charge",
    "void_outcome",
    "waits",
]

Status = Payment.Status


def settlement_of_charge(order: UUID, answer: ChargeAnswer) -> Settlement | None:
    """Return what is to be written of a charge, if the answer says anything."""
    match answer:
        case Authorized(expires_at):
            return Settlement(
                order_id=order, status=Status.AUTHORIZED, authorization_expires_at=expires_at
            )
        case Captured(charge_id):
            return Settlement(order_id=order, status=Status.CAPTURED, charge_id=charge_id)
        case Declined(code):
            return Settlement(order_id=order, status=Status.DECLINED, decline_code=code)
        case Voided():
            return Settlement(order_id=order, status=Status.VOID)
        case ActionRequired() | Pending() | Unanswered():
            return None


def waits(answer: ChargeAnswer) -> bool:
    """Tell whether it is the customer who is waited for."""
    return isinstance(answer, ActionRequired)


def charge_outcome(
    payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]
) -> Outcome:
    """Return what the answer to a charge means for its order."""
    match answer:
        case Captured():
            return _processed(payment, answer)
        case Authorized():
            return Unknown(
                "The gateway has authorized what was to be charged, and captured nothing."
            )
    return _outcome(payment, answer, deadlines)


def authorize_outcome(
    payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]
) -> Outcome:
    """Return what the answer to an authorization means. One that somebody has captured by hand
    is one as well.
    """
    match answer:
        case Authorized() | Captured():
            expires_at = answer.expires_at if isinstance(answer, Authorized) else None
            return PaymentAuthorized(
                payment_id=payment.id,
                amount=payment.amount,
                currency=payment.currency,
                expires_at=expires_at,
            )
    return _outcome(payment, answer, deadlines)


def capture_outcome(payment: Payment, answer: ChargeAnswer) -> Outcome:
    """Return what the answer to a capture means: what was let go before is a definite no."""
    match answer:
        case Captured():
            return _processed(payment, answer)
        case Voided():
            return PaymentFailed(
                code="authorization_expired", detail="The payment's authorization has run out."
            )
        case Authorized() | ActionRequired():
            return Unknown("The gateway has not captured what is authorized.")
    return _outcome(payment, answer, {})


def _processed(payment: Payment, answer: Captured) -> PaymentProcessed:
    return PaymentProcessed(
        payment_id=payment.id,
        charge_id=answer.charge_id,
        amount=answer.amount,
        currency=payment.currency,
    )


def _outcome(payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]) -> Outcome:
    match answer:
        case Declined() | Voided():
            return _refusal(payment, answer)
        case ActionRequired(url):
            return _awaiting(payment, url, deadlines[payment.order_id])
        case Pending(reason):
            return Waiting(reason)
        case Unanswered(reason, retry_after):
            return Unknown(reason, retry_after)
    raise TypeError(f"{answer!r} is answered by each step in its own way.")


def _refusal(payment: Payment, answer: Declined | Voided) -> PaymentFailed:
    match answer:
        case Declined(code, detail, shown):
            return PaymentFailed(detail=detail, decline_code=shown or code)
        case Voided() if payment.action_expires_at:
            return PaymentFailed(
                code="payment_action_expired", detail="The payment was not confirmed in time."
            )
    return PaymentFailed(detail="The payment was cancelled.", decline_code="voided")


def _awaiting(payment: Payment, url: str, deadline: Deadline) -> Waiting:
    told = PaymentActionRequired(payment_id=payment.id, url=url, expires_at=deadline.expires_at)
    return Waiting(
        "The customer has to confirm the payment.", deadline.pause(), told if deadline.new else None
    )


def settlement_of(order: UUID, answer: RefundResult) -> Settlement | None:
    """Return what is to be written of a reversal, if it says anything."""
    match answer.charge, answer.refund:
        case Captured(charge_id), Refunded(amount=amount):
            return Settlement(
                order_id=order, status=Status.REFUNDED, charge_id=charge_id, refunded_amount=amount
            )
        case Captured(charge_id), _:
            return Settlement(order_id=order, status=Status.CAPTURED, charge_id=charge_id)
        case charge, _:
            return settlement_of_charge(order, charge)


def refund_outcome(payment: Payment, answer: RefundResult) -> Outcome:
    """Return what a reversal means for its order."""
    match answer.charge, answer.refund:
        case (Unanswered(reason, retry_after), _) | (_, Unanswered(reason, retry_after)):
            return Unknown(reason, retry_after)
        case (Pending(reason), _) | (_, Pending(reason)):
            return Waiting(reason)
        case _, Declined(code, detail):
            return Retry(f"The gateway declined the refund ({code}): {detail}")
        case ((ActionRequired() | Authorized()), _):
            return Unknown(
                "The gateway has not barred the charge: it can still be confirmed, or captured."
            )
    amount = answer.refund.amount if isinstance(answer.refund, Refunded) else 0
    return PaymentRefunded(payment_id=payment.id, amount=amount, currency=payment.currency)


def void_outcome(payment: Payment, answer: RefundResult) -> Outcome:
    """Return what the reversal of an authorization means: the same, by another name."""
    outcome = refund_outcome(payment, answer)
    if isinstance(outcome, PaymentRefunded):
        return PaymentVoided(
            payment_id=payment.id, amount=outcome.amount, currency=payment.currency
        )
    return outcome
