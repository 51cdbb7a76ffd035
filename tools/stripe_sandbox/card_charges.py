"""Charge the card of a payment intent: charge it, decline it, or require authentication first."""

from typing import Any, NoReturn

from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.balance_transactions import enter_capture
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.cards import GENERIC, METHODS, Card, Decline, card_of
from tools.stripe_sandbox.errors import CardError, RequestLost
from tools.stripe_sandbox.events import record_event
from tools.stripe_sandbox.fault_rules import AFTER, Fault
from tools.stripe_sandbox.records import Charge, Intent, PaymentMethod, new_id
from tools.stripe_sandbox.settlement_queue import settle_later

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
    intent.payment_method = method.id
    intent.last_payment_error = intent.next_action = None

    if not card.authenticate:
        _charge(call, intent, method, card)
    elif customer_present:
        intent.status = "requires_action"
        intent.next_action = _next_action(call, intent)
        call.store.save(intent)
        record_event(call, "payment_intent.requires_action", intent)
    else:
        _decline(call, intent, method, UNAUTHENTICATED)


def finish_authentication(call: Call, intent: Intent, *, consented: bool) -> None:
    """Continue after the customer answered the bank; raise CardError for a decline."""
    method = call.store.get(PaymentMethod, str(intent.payment_method))
    intent.next_action = None

    if consented:
        _charge(call, intent, method, card_of(method))
    else:
        _decline(call, intent, method, NO_CONSENT)


def capture(call: Call, intent: Intent, charge: Charge, amount: int) -> None:
    """Capture `amount` of the authorized amount, and release the rest."""
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


def settle(call: Call, intent: Intent, outcome: str) -> None:
    """End a processing intent as `outcome` says; ignore an intent in another status."""
    if intent.status != "processing" or not intent.latest_charge:
        return

    charge = call.store.get(Charge, intent.latest_charge)
    if outcome == "succeeded":
        capture(call, intent, charge, intent.amount)
        record_event(call, "charge.succeeded", charge)
        record_event(call, "payment_intent.succeeded", intent)
    else:
        _failed(call, intent, charge, GENERIC)


def _charge(call: Call, intent: Intent, method: PaymentMethod, card: Card) -> None:
    if card.decline:
        _decline(call, intent, method, card.decline)

    charge = _new_charge(call, intent, method, status="pending" if card.processing else "succeeded")
    if card.fault in AFTER:
        call.fault = card.fault

    if card.processing:
        intent.status = "processing"
        call.store.save(intent)
        settle_later(call.store, intent.id, "succeeded")
        record_event(call, "charge.pending", charge)
        record_event(call, "payment_intent.processing", intent)
    elif intent.capture_method == "manual":
        intent.status, intent.amount_capturable = "requires_capture", intent.amount
        call.store.save(intent)
        record_event(call, "charge.succeeded", charge)
        record_event(call, "payment_intent.amount_capturable_updated", intent)
    else:
        capture(call, intent, charge, intent.amount)
        record_event(call, "charge.succeeded", charge)
        record_event(call, "payment_intent.succeeded", intent)


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
        id=new_id("ch"),
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


def _next_action(call: Call, intent: Intent) -> dict[str, Any]:
    url = f"{call.origin}/sandbox/authenticate/{intent.id}"
    if intent.return_url:
        return {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": intent.return_url, "url": url},
        }

    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url},
    }
