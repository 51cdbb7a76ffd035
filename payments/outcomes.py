"""The meaning of a gateway's answer: the payment's update, and the outcome for the saga."""

from collections.abc import Mapping
from uuid import UUID

from payments.amounts import in_words
from payments.customer_action import ActionDeadline
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
from payments.services import PaymentUpdate
from sagas.definition.handlers import Outcome, Retry, Unknown, Waiting

__all__ = [
    "authorize_outcome",
    "capture_outcome",
    "charge_outcome",
    "needs_customer",
    "refund_outcome",
    "update_after_charge",
    "update_after_refund",
    "void_outcome",
]

Status = Payment.Status


def update_after_charge(order: UUID, answer: ChargeAnswer) -> PaymentUpdate | None:
    """Return the payment's update after an answer to a charge; None if the answer is not final."""
    match answer:
        case Authorized(expires_at):
            return PaymentUpdate(
                order_id=order, status=Status.AUTHORIZED, authorization_expires_at=expires_at
            )
        case Captured(charge_id):
            return PaymentUpdate(order_id=order, status=Status.CAPTURED, charge_id=charge_id)
        case Declined(code):
            return PaymentUpdate(order_id=order, status=Status.DECLINED, decline_code=code)
        case Voided():
            return PaymentUpdate(order_id=order, status=Status.VOID)
        case ActionRequired() | Pending() | Unanswered():
            return None


def update_after_refund(order: UUID, result: RefundResult) -> PaymentUpdate | None:
    """Return the payment's update after a refund; None if the answers are not final."""
    match result.charge, result.refund:
        case Captured(charge_id), Refunded(amount=amount):
            return PaymentUpdate(
                order_id=order, status=Status.REFUNDED, charge_id=charge_id, refunded_amount=amount
            )
        case Captured(charge_id), _:
            return PaymentUpdate(order_id=order, status=Status.CAPTURED, charge_id=charge_id)
        case charge, _:
            return update_after_charge(order, charge)


def needs_customer(answer: ChargeAnswer) -> bool:
    """Tell whether the customer has to confirm the charge."""
    return isinstance(answer, ActionRequired)


def charge_outcome(
    payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, ActionDeadline]
) -> Outcome:
    """Return the outcome of `payments.charge`."""
    match answer:
        case Captured():
            return _processed(payment, answer)
        case Authorized():
            return Unknown(
                f"The gateway authorized {_money(payment)} instead of charging it. "
                "Capture the charge at the gateway."
            )
    return _outcome(payment, answer, deadlines)


def authorize_outcome(
    payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, ActionDeadline]
) -> Outcome:
    """Return the outcome of `payments.authorize`. A captured charge counts as authorized, because
    a person may have captured it at the gateway.
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
    """Return the outcome of `payments.capture`. A void key is refused as expired."""
    match answer:
        case Captured():
            return _processed(payment, answer)
        case Voided():
            return PaymentFailed(
                code="authorization_expired", detail="The payment's authorization has run out."
            )
        case Authorized() | ActionRequired():
            return Unknown(
                f"The gateway has not captured the authorized {_money(payment)}. It is asked again."
            )
    return _outcome(payment, answer, {})


def refund_outcome(payment: Payment, result: RefundResult) -> Outcome:
    """Return the outcome of `payments.refund`."""
    match result.charge, result.refund:
        case (Unanswered(reason, retry_after), _) | (_, Unanswered(reason, retry_after)):
            return Unknown(reason, retry_after)
        case (Pending(reason), _) | (_, Pending(reason)):
            return Waiting(reason)
        case Captured(), Declined(code, detail):
            return Retry(f"The gateway declined to refund {_money(payment)}: {code}. {detail}")
        case ((ActionRequired() | Authorized()), _):
            return Unknown(
                f"The gateway did not void the charge of {_money(payment)}: it can still be "
                "confirmed or captured. It is asked again."
            )

    amount = result.refund.amount if isinstance(result.refund, Refunded) else 0
    return PaymentRefunded(payment_id=payment.id, amount=amount, currency=payment.currency)


def void_outcome(payment: Payment, result: RefundResult) -> Outcome:
    """Return the outcome of `payments.void`: that of a refund, with an event of its own."""
    outcome = refund_outcome(payment, result)
    if isinstance(outcome, PaymentRefunded):
        return PaymentVoided(
            payment_id=payment.id, amount=outcome.amount, currency=payment.currency
        )
    return outcome


def _outcome(
    payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, ActionDeadline]
) -> Outcome:
    match answer:
        case Declined() | Voided():
            return _refusal(payment, answer)
        case ActionRequired(url):
            return _wait_for_customer(payment, url, deadlines[payment.order_id])
        case Pending(reason):
            return Waiting(reason)
        case Unanswered(reason, retry_after):
            return Unknown(reason, retry_after)
    raise TypeError(f"Each step handles {type(answer).__name__} itself, before this function.")


def _processed(payment: Payment, answer: Captured) -> PaymentProcessed:
    return PaymentProcessed(
        payment_id=payment.id,
        charge_id=answer.charge_id,
        amount=answer.amount,
        currency=payment.currency,
    )


def _refusal(payment: Payment, answer: Declined | Voided) -> PaymentFailed:
    match answer:
        case Declined(code, detail, shown):
            return PaymentFailed(detail=detail, decline_code=shown or code)
        case Voided() if payment.action_expires_at:
            return PaymentFailed(
                code="payment_action_expired", detail="The payment was not confirmed in time."
            )
    return PaymentFailed(detail="The payment was cancelled.", decline_code="voided")


def _wait_for_customer(payment: Payment, url: str, deadline: ActionDeadline) -> Waiting:
    notice = PaymentActionRequired(payment_id=payment.id, url=url, expires_at=deadline.expires_at)
    return Waiting(
        "The customer has to confirm the payment.",
        deadline.poll_delay(),
        notice if deadline.is_new else None,
    )


def _money(payment: Payment) -> str:
    return f"{in_words(payment.amount, payment.currency)} for order {payment.order_id}"
