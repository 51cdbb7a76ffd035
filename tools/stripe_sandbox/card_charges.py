"""Charge a payment intent: charge it, decline it, or require an action of the customer first."""

from typing import Any, NoReturn

from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.balance_transactions import enter_capture
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.cards import DAY, GENERIC, METHODS, Card, Decline, card_of
from tools.stripe_sandbox.currencies import round_down
from tools.stripe_sandbox.errors import ApiError, CardError, RequestLost
from tools.stripe_sandbox.events import record_event
from tools.stripe_sandbox.fault_rules import AFTER, Fault
from tools.stripe_sandbox.moved_by_others import after_capture
from tools.stripe_sandbox.next_actions import authentication, instructions
from tools.stripe_sandbox.records import Charge, Intent, PaymentMethod, new_id
from tools.stripe_sandbox.settlement_queue import remove, settle_later

__all__ = ["attempt", "capture", "finish_authentication", "lose_first_request", "release", "settle"]

UNAUTHENTICATED = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined: it needs its owner's consent.",
)
NO_CONSENT = Decline(
    "payment_intent_authentication_failure",
    None,
    "The customer did not authenticate the payment method.",
)


ATTEMPT_FAILED = Decline(
    "payment_intent_payment_attempt_failed", None, "The customer's bank did not pay."
)
ATTEMPT_EXPIRED = Decline(
    "payment_intent_payment_attempt_expired", None, "The customer did not pay in time."
)


def lose_first_request(call: Call, method: str, *, subject: str | None) -> None:
    """Raise RequestLost for the first request about `subject`, if the test card demands it."""
    card = METHODS.get(method)
    if card is None or card.fault != Fault.TIMEOUT_LOST:
        return

    if call.store.execute(
        "INSERT OR IGNORE INTO lost (subject) VALUES (?) RETURNING subject", [subject]
    ):
        raise RequestLost


def attempt(call: Call, intent: Intent, method: PaymentMethod, *, customer_present: bool) -> None:
    """Charge an intent, or require authentication first; raise CardError for a decline."""
    card = card_of(method)
    _require_suitable(intent, card)
    intent.payment_method = method.id
    intent.last_payment_error = intent.next_action = None

    if not (card.authenticate or card.instructions):
        _charge(call, intent, method, card)
    elif customer_present:
        intent.status = "requires_action"
        intent.next_action = _next_action(call, intent, card)
        call.store.save(intent)
        record_event(call, "payment_intent.requires_action", intent)
    else:
        _decline(call, intent, method, UNAUTHENTICATED)


def finish_authentication(call: Call, intent: Intent, *, consented: bool) -> None:
    """Continue after the customer answered the bank; raise CardError for a decline."""
    method = call.store.get(PaymentMethod, str(intent.payment_method))
    intent.next_action = None
    remove(call.store, intent.id)

    if consented:
        _charge(call, intent, method, card_of(method))
    elif card_of(method).instructions:
        _expire(call, intent, method)
    else:
        _decline(call, intent, method, NO_CONSENT)


def capture(call: Call, intent: Intent, charge: Charge, card: Card, amount: int) -> None:
    """Capture `amount` of the authorized amount, and release the rest."""
    if card.captured_percent < 100 and amount == intent.amount:
        amount = round_down(amount * card.captured_percent // 100, charge.currency)

    charge.captured, charge.amount_captured = True, amount
    charge.status = intent.status = "succeeded"
    intent.amount_received, intent.amount_capturable = amount, 0
    enter_capture(call, charge)
    call.store.save(charge)
    call.store.save(intent)


def release(call: Call, intent: Intent) -> None:
    """Release the authorized amount that is not captured.

    This is no refund: Stripe makes none since the API version 2025-03-31.
    https://docs.stripe.com/changelog/basil/2025-03-31/remove-refund-from-partial-capture-and-payment-cancellation-flow
    """
    intent.amount_capturable = 0
    remove(call.store, intent.id)


def settle(call: Call, intent: Intent, outcome: str) -> None:
    """End an intent as `outcome` says: a processing one, an instructed payment, or an authorization
    that lapses. Ignore any other intent.
    """
    if intent.payment_method is None:
        return

    card = card_of(call.store.get(PaymentMethod, intent.payment_method))
    if intent.status == "requires_action" and card.instructions:
        finish_authentication(call, intent, consented=outcome == "succeeded")
    elif intent.status == "requires_capture" and outcome == "failed":
        _lapse(call, intent)
    elif intent.status == "processing":
        _end_processing(call, intent, card, outcome)


def _end_processing(call: Call, intent: Intent, card: Card, outcome: str) -> None:
    charge = call.store.get(Charge, str(intent.latest_charge))
    if outcome == "succeeded":
        capture(call, intent, charge, card, intent.amount)
        record_event(call, "charge.succeeded", charge)
        record_event(call, "payment_intent.succeeded", intent)
        after_capture(call, charge, card)
    else:
        _failed(call, intent, charge, GENERIC if card.type == "card" else ATTEMPT_FAILED)


def _charge(call: Call, intent: Intent, method: PaymentMethod, card: Card) -> None:
    if card.decline:
        _decline(call, intent, method, card.decline)

    charge = _new_charge(call, intent, method, status="pending" if card.processing else "succeeded")
    if card.fault in AFTER:
        call.fault = card.fault

    if card.processing:
        intent.status = "processing"
        call.store.save(intent)
        seconds = card.processing_days * DAY
        settle_later(call.store, intent.id, "succeeded", at=call.now + seconds if seconds else None)
        record_event(call, "charge.pending", charge)
        record_event(call, "payment_intent.processing", intent)
    elif intent.capture_method == "manual":
        intent.status, intent.amount_capturable = "requires_capture", intent.amount
        call.store.save(intent)
        settle_later(call.store, intent.id, "failed", at=call.now + card.authorization_seconds)
        record_event(call, "charge.succeeded", charge)
        record_event(call, "payment_intent.amount_capturable_updated", intent)
    else:
        capture(call, intent, charge, card, intent.amount)
        record_event(call, "charge.succeeded", charge)
        record_event(call, "payment_intent.succeeded", intent)
        after_capture(call, charge, card)


def _lapse(call: Call, intent: Intent) -> None:
    """Release an authorization that was not captured in time."""
    release(call, intent)
    intent.status, intent.canceled_at = "canceled", call.now
    intent.cancellation_reason = "expired"
    call.store.save(intent)
    record_event(call, "charge.expired", call.store.get(Charge, str(intent.latest_charge)))
    record_event(call, "payment_intent.canceled", intent)


def _decline(call: Call, intent: Intent, method: PaymentMethod, decline: Decline) -> NoReturn:
    charge = _new_charge(call, intent, method, status="failed")
    error = _failed(call, intent, charge, decline)
    error.fields["payment_intent"] = to_api_object(call.store, intent)
    raise error


def _failed(call: Call, intent: Intent, charge: Charge, decline: Decline) -> CardError:
    """Record a failed charge. The intent then requires another payment method."""
    fields = {
        "code": decline.code,
        "decline_code": decline.decline_code,
        "message": decline.message,
    }
    charge.status = "failed"
    charge.decline = {name: value for name, value in fields.items() if value is not None}
    call.store.save(charge)
    method = call.store.get(PaymentMethod, charge.payment_method)
    error = CardError(
        **charge.decline, charge=charge.id, payment_method=to_api_object(call.store, method)
    )
    intent.status, intent.payment_method = "requires_payment_method", None
    intent.last_payment_error = error.body()["error"]
    call.store.save(intent)
    record_event(call, "charge.failed", charge)
    record_event(call, "payment_intent.payment_failed", intent)

    return error


def _new_charge(call: Call, intent: Intent, method: PaymentMethod, *, status: str) -> Charge:
    charge = Charge(
        id=new_id("ch" if card_of(method).type == "card" else "py"),
        created=call.now,
        payment_intent=intent.id,
        payment_method=method.id,
        amount=intent.amount,
        currency=intent.currency,
        status=status,
        metadata=intent.metadata,
        description=intent.description,
        receipt_email=intent.receipt_email,
        statement_descriptor=intent.statement_descriptor,
        statement_descriptor_suffix=intent.statement_descriptor_suffix,
        transfer_group=intent.transfer_group,
    )
    call.store.add(charge)
    intent.latest_charge = charge.id

    return charge


def _next_action(call: Call, intent: Intent, card: Card) -> dict[str, Any]:
    """Return what the customer must do, and schedule the end of an instructed payment."""
    page = f"{call.origin}/sandbox/authenticate/{intent.id}"
    if not card.instructions:
        return authentication(intent, page)

    expires_at = call.now + int(card.instructed_days * DAY) if card.instructed_days else None
    if expires_at:
        settle_later(call.store, intent.id, "failed", at=expires_at)
    return instructions(intent, card, page, expires_at)


def _expire(call: Call, intent: Intent, method: PaymentMethod) -> None:
    """End an instructed payment that the customer did not pay. It has no charge."""
    error = CardError(
        ATTEMPT_EXPIRED.message,
        code=ATTEMPT_EXPIRED.code,
        payment_method=to_api_object(call.store, method),
    )
    intent.status, intent.payment_method = "requires_payment_method", None
    intent.last_payment_error = error.body()["error"]
    call.store.save(intent)
    record_event(call, "payment_intent.payment_failed", intent)


def _require_suitable(intent: Intent, card: Card) -> None:
    """Raise ApiError if the intent cannot be paid with this type of payment method."""
    if card.type not in intent.payment_method_types:
        raise ApiError(
            f"The PaymentMethod provided ({card.type}) is not allowed for this PaymentIntent. "
            f"It allows: {', '.join(intent.payment_method_types)}.",
            code="payment_intent_incompatible_payment_method",
            param="payment_method",
        )

    if intent.capture_method == "manual" and card.type != "card":
        raise ApiError(
            f"A payment with {card.type} cannot be captured later: its capture_method cannot be "
            "manual.",
            code="payment_intent_invalid_parameter",
            param="payment_method",
        )
