"""What happens at the card: an intent is charged, declined, or sent to its customer's bank
first.
"""

from typing import Any, NoReturn

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import CardError, Lost
from tools.stripe_sandbox.events import happened
from tools.stripe_sandbox.faults import AFTER, Fault
from tools.stripe_sandbox.methods import GENERIC, METHODS, Card, Decline, behaviour
from tools.stripe_sandbox.records import Charge, Intent, PaymentMethod, new_id
from tools.stripe_sandbox.settlements import settle_later
from tools.stripe_sandbox.shapes import shape

__all__ = ["attempt", "authenticated", "capture", "lose_once", "release", "settle"]

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


def lose_once(call: Call, method: str, *, subject: str | None) -> None:
    """Raise Lost at the first try of a `subject` with a payment method that loses its first
    request.
    """
    card = METHODS.get(method)
    if card is None or card.fault != Fault.TIMEOUT_LOST:
        return
    if call.books.execute(
        "INSERT OR IGNORE INTO lost (subject) VALUES (?) RETURNING subject", [subject]
    ):
        raise Lost


def attempt(call: Call, intent: Intent, method: PaymentMethod, *, customer_present: bool) -> None:
    """Charge an intent, or have its customer authenticate first; raise CardError where the card
    says no.
    """
    card = behaviour(method)
    intent.payment_method = method.id
    intent.last_payment_error = intent.next_action = None
    if not card.authenticate:
        _charge(call, intent, method, card)
    elif customer_present:
        intent.status = "requires_action"
        intent.next_action = _next_action(call, intent)
        call.books.save(intent)
        happened(call, "payment_intent.requires_action", intent)
    else:
        _decline(call, intent, method, UNAUTHENTICATED)


def authenticated(call: Call, intent: Intent, *, consented: bool) -> None:
    """Go on once the customer has answered the bank; raise CardError where that ends in a
    decline.
    """
    method = call.books.get(PaymentMethod, str(intent.payment_method))
    intent.next_action = None
    if consented:
        _charge(call, intent, method, behaviour(method))
    else:
        _decline(call, intent, method, NO_CONSENT)


def capture(call: Call, intent: Intent, charge: Charge, amount: int) -> None:
    """Take so much of what is authorized; the rest is let go."""
    charge.captured, charge.amount_captured = True, amount
    charge.status = intent.status = "succeeded"
    intent.amount_received, intent.amount_capturable = amount, 0
    call.books.save(charge)
    call.books.save(intent)
    call.books.moved("capture", charge.id)


def release(call: Call, intent: Intent) -> None:
    """Let go of what is authorized and not captured."""
    if intent.amount_capturable and intent.latest_charge:
        charge = call.books.get(Charge, intent.latest_charge)
        charge.amount_refunded = charge.amount
        call.books.save(charge)
        happened(call, "charge.refunded", charge)
    intent.amount_capturable = 0


def settle(call: Call, intent: Intent, outcome: str) -> None:
    """Let a processing intent succeed or fail, as the bank says in the end; any other is left as
    it is.
    """
    if intent.status != "processing" or not intent.latest_charge:
        return
    charge = call.books.get(Charge, intent.latest_charge)
    if outcome == "succeeded":
        capture(call, intent, charge, intent.amount)
        happened(call, "charge.succeeded", charge)
        happened(call, "payment_intent.succeeded", intent)
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
        call.books.save(intent)
        settle_later(call.books, intent.id, "succeeded")
        happened(call, "charge.pending", charge)
        happened(call, "payment_intent.processing", intent)
    elif intent.capture_method == "manual":
        intent.status, intent.amount_capturable = "requires_capture", intent.amount
        call.books.save(intent)
        happened(call, "charge.succeeded", charge)
        happened(call, "payment_intent.amount_capturable_updated", intent)
    else:
        capture(call, intent, charge, intent.amount)
        happened(call, "charge.succeeded", charge)
        happened(call, "payment_intent.succeeded", intent)


def _decline(call: Call, intent: Intent, method: PaymentMethod, decline: Decline) -> NoReturn:
    charge = _new_charge(call, intent, method, status="failed")
    error = _failed(call, intent, charge, decline)
    error.fields["payment_intent"] = shape(call.books, intent)
    raise error


def _failed(call: Call, intent: Intent, charge: Charge, decline: Decline) -> CardError:
    """Write down that a charge has failed, and put the intent back to where it wants another
    method.
    """
    fields = {
        "code": decline.code,
        "decline_code": decline.decline_code,
        "message": decline.message,
    }
    charge.status = "failed"
    charge.decline = {name: value for name, value in fields.items() if value is not None}
    call.books.save(charge)
    method = call.books.get(PaymentMethod, charge.payment_method)
    error = CardError(**charge.decline, charge=charge.id, payment_method=shape(call.books, method))
    intent.status, intent.payment_method = "requires_payment_method", None
    intent.last_payment_error = error.body()["error"]
    call.books.save(intent)
    happened(call, "charge.failed", charge)
    happened(call, "payment_intent.payment_failed", intent)
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
    call.books.add(charge)
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
