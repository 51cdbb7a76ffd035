"""The meaning of a gateway's answer: the payment's update, and the outcome for the saga."""

from collections.abc import Mapping
from uuid import UUID

from payments.deadlines import Deadline
from payments.events import (
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentBarred,
    PaymentFailed,
    PaymentMismatched,
    PaymentProcessed,
    PaymentRefunded,
    PaymentUndecided,
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
    RefundAnswer,
    Refunded,
    Unanswered,
    Voided,
)
from payments.models import Payment
from payments.services import PaymentUpdate
from sagas.currencies import with_currency
from sagas.outcomes import Outcome, Retry, Unknown, Waiting

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
        case Captured(charge_id, amount):
            return PaymentUpdate(
                order_id=order,
                status=Status.CAPTURED,
                charge_id=charge_id,
                captured_amount=amount,
            )
        case Declined(code):
            return PaymentUpdate(order_id=order, status=Status.DECLINED, decline_code=code)
        case Voided():
            return PaymentUpdate(order_id=order, status=Status.VOID)
        case ActionRequired() | Pending() | Unanswered():
            return None


def update_after_refund(order: UUID, result: RefundResult) -> PaymentUpdate | None:
    """Return the payment's update after a refund; None if the answers are not final."""
    match result.charge, result.refund:
        case Captured(charge_id, captured), Refunded(amount=amount, disputed=disputed):
            return PaymentUpdate(
                order_id=order,
                status=Status.REFUNDED,
                charge_id=charge_id,
                captured_amount=captured,
                refunded_amount=amount,
                owed_amount=0,
                disputed_amount=disputed or None,
                dispute_status="lost" if disputed else None,
            )
        case charge, _:
            return update_after_charge(order, charge)


def needs_customer(answer: ChargeAnswer) -> bool:
    """Tell whether the customer has to confirm the charge."""
    return isinstance(answer, ActionRequired)


def charge_outcome(
    payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]
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
    payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]
) -> Outcome:
    """Return the outcome of `payments.authorize`. A captured charge counts as authorized, because
    a person may have captured it at the gateway.
    """
    match answer:
        case Captured(_, amount) if amount != payment.amount:
            return _mismatched(payment, amount)
        case Authorized() | Captured():
            expires_at = answer.expires_at if isinstance(answer, Authorized) else None
            return PaymentAuthorized(
                payment_id=payment.id,
                amount=payment.amount,
                currency=payment.currency,
                expires_at=expires_at,
            )
    return _outcome(payment, answer, deadlines)


def capture_outcome(
    payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]
) -> Outcome:
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
    return _outcome(payment, answer, deadlines)


def refund_outcome(
    payment: Payment, result: RefundResult, deadlines: Mapping[UUID, Deadline]
) -> Outcome:
    """Return the outcome of `payments.refund`."""
    if result.undecided:
        subject = "refund" if result.undecided is result.refund else "charge"
        return _wait_for_gateway(payment, result.undecided, deadlines, subject=subject)

    match result.charge, result.refund:
        case (Unanswered(reason, retry_after), _) | (_, Unanswered(reason, retry_after)):
            return Unknown(reason, retry_after)
        case Captured(), Declined(code, detail):
            return Retry(f"The gateway declined to refund {_money(payment)}: {code}. {detail}")
        case ((ActionRequired() | Authorized()), _):
            return Unknown(
                f"The gateway did not void the charge of {_money(payment)}: it can still be "
                "confirmed or captured. It is asked again."
            )

    return _undone(payment, result.refund)


def void_outcome(
    payment: Payment, result: RefundResult, deadlines: Mapping[UUID, Deadline]
) -> Outcome:
    """Return the outcome of `payments.void`: as of a refund, unless it releases an authorization.

    `payment` is as it was before the answer was recorded.
    """
    outcome = refund_outcome(payment, result, deadlines)
    match outcome:
        case PaymentRefunded(amount=amount):
            return PaymentVoided(payment_id=payment.id, amount=amount, currency=payment.currency)
        case PaymentBarred() if payment.status == Status.AUTHORIZED:
            return PaymentVoided(payment_id=payment.id, amount=0, currency=payment.currency)
    return outcome


def _outcome(payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]) -> Outcome:
    match answer:
        case Declined() | Voided():
            return _refusal(payment, answer)
        case ActionRequired():
            return _wait_for_customer(payment, answer, deadlines[payment.order_id])
        case Pending():
            return _wait_for_gateway(payment, answer, deadlines, subject="charge")
        case Unanswered(reason, retry_after):
            return Unknown(reason, retry_after)
    raise TypeError(f"Each step handles {type(answer).__name__} itself, before this function.")


def _processed(payment: Payment, answer: Captured) -> PaymentProcessed | PaymentMismatched:
    if answer.amount != payment.amount:
        return _mismatched(payment, answer.amount)
    return PaymentProcessed(
        payment_id=payment.id,
        charge_id=answer.charge_id,
        amount=answer.amount,
        currency=payment.currency,
    )


def _undone(payment: Payment, refund: RefundAnswer | None) -> PaymentRefunded | PaymentBarred:
    if isinstance(refund, Refunded):
        return PaymentRefunded(
            payment_id=payment.id,
            amount=refund.amount,
            currency=payment.currency,
            disputed=refund.disputed,
        )
    return PaymentBarred(payment_id=payment.id)


def _mismatched(payment: Payment, captured: int) -> PaymentMismatched:
    return PaymentMismatched(
        detail=f"{with_currency(captured, payment.currency)} were captured instead of "
        f"{with_currency(payment.amount, payment.currency)}. The captured amount is given back."
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


def _wait_for_customer(payment: Payment, answer: ActionRequired, deadline: Deadline) -> Waiting:
    notice = PaymentActionRequired(
        payment_id=payment.id,
        url=answer.url,
        expires_at=deadline.expires_at,
        method=answer.method,
        waits_until=deadline.expires_at,
    )
    return Waiting(
        "The customer has to confirm the payment.",
        deadline.poll_delay(),
        notice if deadline.is_new else None,
    )


def _wait_for_gateway(
    payment: Payment, answer: Pending, deadlines: Mapping[UUID, Deadline], *, subject: str
) -> Outcome:
    deadline = deadlines[payment.order_id]
    if deadline.seconds_left <= 0:
        return Unknown(
            f"{answer.reason} The decision on the {subject} of {_money(payment)} was due at "
            f"{deadline.expires_at:%Y-%m-%d %H:%M} UTC. Look it up at the gateway.",
            deadline.overdue_poll_delay(),
        )
    notice = PaymentUndecided(
        payment_id=payment.id, subject=subject, waits_until=deadline.expires_at
    )
    return Waiting(answer.reason, deadline.poll_delay(), notice if deadline.is_new else None)


def _money(payment: Payment) -> str:
    return f"{with_currency(payment.amount, payment.currency)} for order {payment.order_id}"
