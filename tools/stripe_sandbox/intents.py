"""Payment intents: created, confirmed, captured, canceled, in the states that Stripe documents."""

import contextlib
from typing import Any

from tools.stripe_sandbox import charging
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import ApiError, CardError, missing, no_such, unexpected_state
from tools.stripe_sandbox.events import happened
from tools.stripe_sandbox.forms import Form
from tools.stripe_sandbox.lists import page
from tools.stripe_sandbox.methods import METHODS, attach
from tools.stripe_sandbox.records import Charge, Intent, PaymentMethod, new_id
from tools.stripe_sandbox.shapes import shape

__all__ = ["authenticate", "cancel", "capture", "confirm", "create", "list_all", "retrieve"]

LARGEST_AMOUNT = 99_999_999
# https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
SMALLEST_AMOUNTS = {
    "aud": 50,
    "cad": 50,
    "chf": 50,
    "eur": 50,
    "gbp": 30,
    "jpy": 50,
    "sek": 300,
    "usd": 50,
}
CAPTURE_METHODS = ("automatic", "automatic_async", "manual")
CANCELLATION_REASONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
OFF_SESSION = ("true", "false", "one_off", "recurring")
ONLY_TO_CONFIRM = ("off_session", "return_url", "error_on_requires_action")
TEXTS = (
    "description",
    "receipt_email",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)

CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = (*CONFIRMABLE, "requires_capture")


def create(call: Call) -> dict[str, Any]:
    """POST /v1/payment_intents; with `confirm`, charged in the same call."""
    form = call.form
    form.only(
        *(
            "amount",
            "currency",
            "confirm",
            "capture_method",
            "confirmation_method",
            "payment_method",
            "metadata",
        ),
        *(
            "automatic_payment_methods",
            "payment_method_types",
            "setup_future_usage",
            *ONLY_TO_CONFIRM,
            *TEXTS,
        ),
    )
    confirm = form.flag("confirm")
    if wrong := [name for name in ONLY_TO_CONFIRM if form.has(name) and not confirm]:
        raise ApiError(f"{wrong[0]} is only for a request with confirm=true.", param=wrong[0])
    intent = _new(call)
    method = form.text("payment_method")
    if confirm:
        _demand_confirmable(call, intent, method)
        charging.lose_once(call, str(method), subject=call.key or call.request)
    if method:
        intent.payment_method = attach(call, method).id
        intent.status = "requires_confirmation"
    call.books.add(intent)
    for key, value in intent.metadata.items():
        call.books.execute(
            "INSERT INTO tag (key, value, id) VALUES (?, ?, ?)", [key, value, intent.id]
        )
    happened(call, "payment_intent.created", intent)
    if confirm:
        _confirm(call, intent)
    return shape(call.books, intent)


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/payment_intents/{id}"""
    call.form.only("client_secret")
    return shape(call.books, _find(call, id))


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/payment_intents"""
    return page(call, Intent, "/v1/payment_intents", {})


def confirm(call: Call, id: str) -> dict[str, Any]:
    """POST /v1/payment_intents/{id}/confirm"""
    form = call.form
    form.only(
        "payment_method", "capture_method", "receipt_email", "setup_future_usage", *ONLY_TO_CONFIRM
    )
    intent = _find(call, id)
    _demand(call, intent, "confirm", CONFIRMABLE)
    intent.capture_method = (
        form.choice("capture_method", CAPTURE_METHODS, intent.capture_method) or "automatic"
    )
    intent.return_url = form.text("return_url") or intent.return_url
    intent.receipt_email = form.text("receipt_email") or intent.receipt_email
    method = form.text("payment_method")
    _demand_confirmable(call, intent, method)
    charging.lose_once(call, _name(call, method or str(intent.payment_method)), subject=intent.id)
    if method:
        intent.payment_method = attach(call, method).id
    _confirm(call, intent)
    return shape(call.books, intent)


def capture(call: Call, id: str) -> dict[str, Any]:
    """POST /v1/payment_intents/{id}/capture: all that is authorized, or a part, and the rest is
    let go.
    """
    call.form.only(
        "amount_to_capture", "metadata", "statement_descriptor", "statement_descriptor_suffix"
    )
    amount = call.form.integer("amount_to_capture", least=1)
    intent = _find(call, id)
    _demand(call, intent, "capture", ("requires_capture",))
    if amount is not None and amount > intent.amount_capturable:
        raise ApiError(
            f"The amount to capture, {amount}, is more than the {intent.amount_capturable} that can be.",
            code="amount_too_large",
            param="amount_to_capture",
            executed=True,
        )
    charge = call.books.get(Charge, str(intent.latest_charge))
    charging.capture(call, intent, charge, amount or intent.amount_capturable)
    happened(call, "charge.captured", charge)
    happened(call, "payment_intent.succeeded", intent)
    return shape(call.books, intent)


def cancel(call: Call, id: str) -> dict[str, Any]:
    """POST /v1/payment_intents/{id}/cancel: after it, no charge can come of this intent any
    more.
    """
    call.form.only("cancellation_reason")
    reason = call.form.choice("cancellation_reason", CANCELLATION_REASONS)
    intent = _find(call, id)
    _demand(call, intent, "cancel", CANCELABLE)
    charging.release(call, intent)
    intent.status, intent.next_action = "canceled", None
    intent.canceled_at, intent.cancellation_reason = call.now, reason
    call.books.save(intent)
    happened(call, "payment_intent.canceled", intent)
    return shape(call.books, intent)


def authenticate(call: Call, id: str, *, consented: bool) -> Intent:
    """Answer for the customer, whose bank asks for consent; a decline that follows is the
    intent's, and no error.
    """
    intent = _find(call, id)
    _demand(call, intent, "authenticate", ("requires_action",))
    with contextlib.suppress(CardError):
        charging.authenticated(call, intent, consented=consented)
    return intent


def _new(call: Call) -> Intent:
    form = call.form
    automatic, types = _payment_methods(form)
    texts: dict[str, Any] = {name: form.text(name) for name in TEXTS}
    id = new_id("pi")
    return Intent(
        id=id,
        created=call.now,
        amount=_amount(form),
        currency=_currency(form),
        status="requires_payment_method",
        capture_method=form.choice("capture_method", CAPTURE_METHODS) or "automatic_async",
        confirmation_method=form.choice("confirmation_method", ("automatic", "manual"))
        or "automatic",
        payment_method_types=types,
        automatic_payment_methods=automatic,
        metadata=form.metadata(),
        client_secret=new_id(f"{id}_secret"),
        setup_future_usage=form.choice("setup_future_usage", ("off_session", "on_session")),
        return_url=form.text("return_url"),
        **texts,
    )


def _amount(form: Form) -> int:
    amount = form.integer("amount", least=1)
    if amount is None:
        raise missing("amount")
    if amount > LARGEST_AMOUNT:
        raise ApiError(
            f"An amount is at most {LARGEST_AMOUNT}.", code="amount_too_large", param="amount"
        )
    least = SMALLEST_AMOUNTS.get(form.required("currency").lower(), 1)
    if amount < least:
        raise ApiError(
            f"An amount is at least {least} in this currency.",
            code="amount_too_small",
            param="amount",
        )
    return amount


def _currency(form: Form) -> str:
    currency = form.required("currency").lower()
    if len(currency) != 3 or not currency.isascii() or not currency.isalpha():
        raise ApiError(
            f"Invalid currency: {currency}. It is three letters of ISO 4217.", param="currency"
        )
    return currency


def _payment_methods(form: Form) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the automatic choice, which is Stripe's default, or the named types; cards are all
    that is here.
    """
    automatic, types = form.inner("automatic_payment_methods"), form.texts("payment_method_types")
    if automatic and types:
        raise ApiError(
            "Give automatic_payment_methods or payment_method_types.", param="payment_method_types"
        )
    if any(name != "card" for name in types):
        raise ApiError("The sandbox has only cards.", param="payment_method_types")
    if types:
        return None, types
    if automatic is None:
        return {"allow_redirects": "always", "enabled": True}, ["card"]
    automatic.only("enabled", "allow_redirects")
    automatic.required("enabled")
    redirects = automatic.choice("allow_redirects", ("always", "never"), "always")
    return (
        {"allow_redirects": redirects, "enabled": True} if automatic.flag("enabled") else None
    ), ["card"]


def _confirm(call: Call, intent: Intent) -> None:
    form = call.form
    off_session = form.choice("off_session", OFF_SESSION, "false") != "false"
    present = not off_session and not form.flag("error_on_requires_action")
    method = call.books.get(PaymentMethod, str(intent.payment_method))
    charging.attempt(call, intent, method, customer_present=present)


def _demand_confirmable(call: Call, intent: Intent, method: str | None) -> None:
    """Raise the error of an intent that lacks what a confirmation needs."""
    if not method and not intent.payment_method:
        message = "This payment intent cannot be confirmed: it has no payment method. Give one with the request."
        raise unexpected_state(message, shape(call.books, intent))
    automatic = intent.automatic_payment_methods or {}
    if automatic.get("allow_redirects") == "always" and not intent.return_url:
        raise ApiError(
            "This payment intent may send its customer elsewhere, so it needs a return_url. Or create it with"
            " automatic_payment_methods[allow_redirects]=never.",
            param="return_url",
        )


def _name(call: Call, method: str) -> str:
    """Return the test name of a payment method, be it given by that or by its id."""
    known = None if method in METHODS else call.books.find(PaymentMethod, method)
    return known.name if known else method


def _find(call: Call, id: str) -> Intent:
    intent = call.books.find(Intent, id)
    if intent is None:
        raise no_such("payment_intent", id, param="intent")
    return intent


def _demand(call: Call, intent: Intent, verb: str, statuses: tuple[str, ...]) -> None:
    if intent.status not in statuses:
        message = (
            f"You cannot {verb} this PaymentIntent because it has a status of {intent.status}. Only a PaymentIntent"
            f" with one of the following statuses may be: {', '.join(statuses)}."
        )
        raise unexpected_state(message, shape(call.books, intent))
