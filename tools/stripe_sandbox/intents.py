"""Payment intents: create, confirm, capture and cancel, with the states that Stripe documents."""

import contextlib
from typing import Any

from tools.stripe_sandbox import card_charges
from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.cards import METHODS, TYPES, attach, card_of
from tools.stripe_sandbox.currencies import require_chargeable, require_step, supported
from tools.stripe_sandbox.errors import ApiError, CardError, missing, not_found, unexpected_state
from tools.stripe_sandbox.events import record_event
from tools.stripe_sandbox.forms import Form
from tools.stripe_sandbox.moved_by_others import after_capture
from tools.stripe_sandbox.pagination import page
from tools.stripe_sandbox.records import Charge, Intent, PaymentMethod, new_id
from tools.stripe_sandbox.settlement_queue import remove

__all__ = [
    "authenticate",
    "cancel",
    "capture",
    "capture_part",
    "confirm",
    "create",
    "list_all",
    "retrieve",
]

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
    """POST /v1/payment_intents. With `confirm`, the same call charges the card."""
    form = call.form
    form.allow_only(
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
        _require_confirmable(call, intent, method)
        card_charges.lose_first_request(call, str(method), subject=call.key or call.request)

    if method:
        intent.payment_method = attach(call, method).id
        intent.status = "requires_confirmation"

    call.store.add(intent)
    for key, value in intent.metadata.items():
        call.store.execute(
            "INSERT INTO tag (key, value, id) VALUES (?, ?, ?)", [key, value, intent.id]
        )

    record_event(call, "payment_intent.created", intent)
    if confirm:
        _confirm(call, intent)

    return to_api_object(call.store, intent)


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/payment_intents/{id}"""
    call.form.allow_only("client_secret")
    return to_api_object(call.store, _find(call, id))


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/payment_intents"""
    return page(call, Intent, "/v1/payment_intents", {})


def confirm(call: Call, id: str) -> dict[str, Any]:
    """POST /v1/payment_intents/{id}/confirm"""
    form = call.form
    form.allow_only(
        "payment_method", "capture_method", "receipt_email", "setup_future_usage", *ONLY_TO_CONFIRM
    )
    intent = _find(call, id)
    _require_status(call, intent, "confirm", CONFIRMABLE)
    intent.capture_method = (
        form.choice("capture_method", CAPTURE_METHODS, intent.capture_method) or "automatic"
    )
    intent.return_url = form.text("return_url") or intent.return_url
    intent.receipt_email = form.text("receipt_email") or intent.receipt_email
    method = form.text("payment_method")
    _require_confirmable(call, intent, method)
    card_charges.lose_first_request(
        call, _name(call, method or str(intent.payment_method)), subject=intent.id
    )
    if method:
        intent.payment_method = attach(call, method).id

    _confirm(call, intent)
    return to_api_object(call.store, intent)


def capture(call: Call, id: str) -> dict[str, Any]:
    """POST /v1/payment_intents/{id}/capture. A partial capture releases the rest."""
    call.form.allow_only(
        "amount_to_capture", "metadata", "statement_descriptor", "statement_descriptor_suffix"
    )
    amount = call.form.integer("amount_to_capture", least=1)
    intent = _find(call, id)
    capture_part(call, intent, amount)

    return to_api_object(call.store, intent)


def capture_part(call: Call, intent: Intent, amount: int | None) -> None:
    """Capture `amount` of an authorization, or all of it if the amount is None."""
    _require_status(call, intent, "capture", ("requires_capture",))

    if amount is not None and amount > intent.amount_capturable:
        raise ApiError(
            f"The amount to capture ({amount}) is greater than the amount capturable "
            f"({intent.amount_capturable}).",
            code="amount_too_large",
            param="amount_to_capture",
            executed=True,
        )

    if amount is not None:
        require_step(amount, intent.currency, param="amount_to_capture")

    charge = call.store.get(Charge, str(intent.latest_charge))
    card = card_of(call.store.get(PaymentMethod, charge.payment_method))
    card_charges.capture(call, intent, charge, card, amount or intent.amount_capturable)
    remove(call.store, intent.id)  # the end of the authorization
    record_event(call, "charge.captured", charge)
    record_event(call, "payment_intent.succeeded", intent)
    after_capture(call, charge, card)


def cancel(call: Call, id: str) -> dict[str, Any]:
    """POST /v1/payment_intents/{id}/cancel. A canceled intent cannot be charged."""
    call.form.allow_only("cancellation_reason")
    reason = call.form.choice("cancellation_reason", CANCELLATION_REASONS)
    intent = _find(call, id)
    _require_status(call, intent, "cancel", CANCELABLE)
    card_charges.release(call, intent)
    intent.status, intent.next_action = "canceled", None
    intent.canceled_at, intent.cancellation_reason = call.now, reason
    call.store.save(intent)
    record_event(call, "payment_intent.canceled", intent)

    return to_api_object(call.store, intent)


def authenticate(call: Call, id: str, *, consented: bool) -> Intent:
    """Answer the bank's question for the customer.

    A decline afterwards changes the intent, but raises no error.
    """
    intent = _find(call, id)
    _require_status(call, intent, "authenticate", ("requires_action",))
    with contextlib.suppress(CardError):
        card_charges.finish_authentication(call, intent, consented=consented)

    return intent


def _new(call: Call) -> Intent:
    form = call.form
    automatic, types = _payment_methods(form)
    texts: dict[str, Any] = {name: form.text(name) for name in TEXTS}
    currency = supported(form.required("currency"))
    id = new_id("pi")

    return Intent(
        id=id,
        created=call.now,
        amount=_amount(form, currency),
        currency=currency,
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


def _amount(form: Form, currency: str) -> int:
    amount = form.integer("amount", least=1)
    if amount is None:
        raise missing("amount")

    require_chargeable(amount, currency)
    return amount


def _payment_methods(form: Form) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the automatic payment methods, which are Stripe's default, or the named types.

    Automatic payment methods are all that the sandbox has.
    """
    automatic, types = form.inner("automatic_payment_methods"), form.texts("payment_method_types")
    if automatic and types:
        raise ApiError(
            "Send automatic_payment_methods or payment_method_types, not both.",
            param="payment_method_types",
        )

    if unknown := [name for name in types if name not in TYPES]:
        raise ApiError(
            f"The payment method type {unknown[0]} is invalid. The sandbox has: "
            f"{', '.join(TYPES)}.",
            param="payment_method_types",
        )
    if types:
        return None, types
    if automatic is None:
        return {"allow_redirects": "always", "enabled": True}, TYPES

    automatic.allow_only("enabled", "allow_redirects")
    automatic.required("enabled")
    redirects = automatic.choice("allow_redirects", ("always", "never"), "always")

    return (
        {"allow_redirects": redirects, "enabled": True} if automatic.flag("enabled") else None
    ), TYPES


def _confirm(call: Call, intent: Intent) -> None:
    form = call.form
    off_session = form.choice("off_session", OFF_SESSION, "false") != "false"
    present = not off_session and not form.flag("error_on_requires_action")
    method = call.store.get(PaymentMethod, str(intent.payment_method))
    card_charges.attempt(call, intent, method, customer_present=present)


def _require_confirmable(call: Call, intent: Intent, method: str | None) -> None:
    """Raise ApiError if the intent has no payment method, or needs a return_url and has none."""
    if not method and not intent.payment_method:
        message = (
            "This payment intent has no payment method, so it cannot be confirmed. "
            "Send a payment_method."
        )
        raise unexpected_state(message, to_api_object(call.store, intent))

    automatic = intent.automatic_payment_methods or {}
    if automatic.get("allow_redirects") == "always" and not intent.return_url:
        raise ApiError(
            "This payment intent may redirect its customer, so it needs a return_url. "
            "Or create it with automatic_payment_methods[allow_redirects]=never.",
            param="return_url",
        )


def _name(call: Call, method: str) -> str:
    """Return the name of a test card, given its name or the id of its payment method."""
    known = None if method in METHODS else call.store.find(PaymentMethod, method)
    return known.name if known else method


def _find(call: Call, id: str) -> Intent:
    intent = call.store.find(Intent, id)
    if intent is None:
        raise not_found("payment_intent", id, param="intent")
    return intent


def _require_status(call: Call, intent: Intent, verb: str, statuses: tuple[str, ...]) -> None:
    if intent.status not in statuses:
        message = (
            f"You cannot {verb} this PaymentIntent because it has a status of {intent.status}. "
            f"Only a PaymentIntent with one of the following statuses may be: "
            f"{', '.join(statuses)}."
        )
        raise unexpected_state(message, to_api_object(call.store, intent))
