"""One charge through Stripe: charge, capture, find and void, and the answer of an intent."""

from collections.abc import Callable
from datetime import datetime, timedelta

import stripe
from stripe import PaymentIntent

from payments.gateways.base import (
    Absent,
    Authorized,
    Captured,
    ChargeAnswer,
    ChargeRequest,
    Declined,
    FindAnswer,
    Unanswered,
    Voided,
)
from payments.gateways.stripe import intents
from payments.gateways.stripe.account import Account, NoAnswer
from payments.gateways.stripe.currencies import from_stripe, to_stripe
from payments.gateways.stripe.error_meanings import answer_to_error, declined, not_chargeable
from payments.gateways.stripe.objects import id_of, time_of
from payments.gateways.stripe.unfinished import answer_to_action, answer_to_processing
from sagas.currencies import with_currency

__all__ = ["capture", "charge", "find", "void"]

# https://docs.stripe.com/payments/place-a-hold-on-a-payment-method#authorization-validity-windows
SHORTEST_AUTHORIZATION = timedelta(days=4, hours=18)


def charge(account: Account, request: ChargeRequest, *, capture_later: bool) -> ChargeAnswer:
    """Create and confirm the charge's intent."""
    intent = intents.get_or_create(account, request)
    if intent is None:
        return not_chargeable(request.amount, request.currency)
    if intent.status != "requires_confirmation":
        return _answer(account, intent)

    _refuse_other_amount(intent, request)
    return _unless_declined(
        account,
        intent,
        lambda: intents.confirm(account, intent, request.key, capture_later=capture_later),
    )


def capture(account: Account, request: ChargeRequest) -> ChargeAnswer:
    """Capture the charge's intent. Cancel an intent that was never authorized, so that it cannot be
    authorized later.
    """
    intent = intents.get_or_create(account, request)
    if intent is None:
        return Voided()
    if intent.status == "requires_confirmation":
        return _cancel(account, intent.id, Voided())
    if intent.status != "requires_capture":
        return _answer(account, intent)

    _refuse_other_amount(intent, request)
    return _unless_declined(account, intent, lambda: intents.capture(account, intent, request.key))


def find(account: Account, request: ChargeRequest) -> FindAnswer:
    """Look up the charge's intent."""
    intent = intents.get_or_create(account, request)
    if intent is None or intent.status == "requires_confirmation":
        return Absent()
    return _answer(account, intent)


def void(account: Account, request: ChargeRequest) -> ChargeAnswer:
    """Cancel the charge's intent."""
    intent = intents.get_or_create(account, request)
    if intent is None:
        return Voided()
    return _cancel(account, intent.id, _decline_of(intent) or Voided())


def _refuse_other_amount(intent: PaymentIntent, request: ChargeRequest) -> None:
    """Raise NoAnswer if the intent is for another amount, so that no wrong amount is taken."""
    wanted = to_stripe(request.amount, request.currency)
    if (intent.amount, intent.currency) != (wanted, request.currency):
        shown = with_currency(from_stripe(intent.amount, intent.currency), intent.currency)
        raise NoAnswer(
            f"The Stripe intent {intent.id} was made with other parameters: it is for {shown}, the "
            f"order is for {with_currency(request.amount, request.currency)}. Cancel the order."
        )


def _unless_declined(
    account: Account, intent: PaymentIntent, act: Callable[[], PaymentIntent]
) -> ChargeAnswer:
    """Act on an intent. Cancel a declined intent, so that no other card can pay it."""
    try:
        return _answer(account, act())
    except stripe.CardError as error:
        answer = answer_to_error(error)
        if isinstance(answer, Declined):
            return _cancel(account, intent.id, answer)
        return answer


def _cancel(account: Account, intent: str, answer: Declined | Voided) -> ChargeAnswer:
    """Cancel an intent, and return `answer`; or the intent's own answer if it is too late."""
    cancelled = account.cancel(intent)
    return answer if cancelled.status == "canceled" else _answer(account, cancelled)


def _answer(account: Account, intent: PaymentIntent) -> ChargeAnswer:
    match intent.status:
        case "succeeded":
            captured = from_stripe(intent.amount_received, intent.currency)
            return Captured(id_of(intent.latest_charge), captured)
        case "requires_capture":
            return Authorized(_capture_before(account, intent))
        case "requires_payment_method":  # declined; Stripe waits for another card
            return _cancel(account, intent.id, _decline_of(intent) or Voided())
        case "canceled":
            return _decline_of(intent) or Voided()
    return _answer_to_unfinished(account, intent)


def _answer_to_unfinished(account: Account, intent: PaymentIntent) -> ChargeAnswer:
    match intent.status:
        case "requires_action":
            return answer_to_action(intent)
        case "processing":
            charge = account.charge(id_of(intent.latest_charge)) if intent.latest_charge else None
            return answer_to_processing(intent, charge)
    return Unanswered(
        f"The Stripe intent {intent.id} has the unexpected status {intent.status}. "
        "Look it up in Stripe's dashboard."
    )


def _capture_before(account: Account, intent: PaymentIntent) -> datetime:
    """Return when the authorization ends, by Stripe or else by the shortest window of all cards."""
    capture_before = account.capture_before(id_of(intent.latest_charge))
    if capture_before:
        return time_of(capture_before)
    return time_of(intent.created) + SHORTEST_AUTHORIZATION


def _decline_of(intent: PaymentIntent) -> Declined | None:
    return declined(intent.last_payment_error) if intent.last_payment_error else None
