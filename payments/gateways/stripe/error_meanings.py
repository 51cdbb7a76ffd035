"""The meanings of Stripe's errors: a table of errors, and the decline texts for customers.

https://docs.stripe.com/api/errors, https://docs.stripe.com/error-low-level,
https://docs.stripe.com/declines/codes
"""

import ssl
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

import stripe
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, SSLError

from payments.gateways.base import Declined, Unanswered
from payments.gateways.stripe.currencies import STRIPE_CURRENCIES

__all__ = [
    "Effect",
    "answer_to_error",
    "declined",
    "in_words",
    "is_replayed",
    "is_replayed_failure",
    "not_chargeable",
]


class Effect(Enum):
    """The request's effect, as far as the error tells, and our reaction."""

    DECLINED = "declined for good"
    NOT_DONE = "not done; ask again"
    UNKNOWN = "may be done; ask again under the same key, and look it up"
    MISCONFIGURED = "our or Stripe's set-up is wrong; ask again forever, and alert a person"


class ErrorMeaning(NamedTuple):
    """A row of the table: an error, a condition on it, its effect, and our text for it."""

    error: type[stripe.StripeError]
    effect: Effect
    text: str
    applies: Callable[[Any], bool] = lambda error: True


# Parameters that come with the order. If one of them is invalid, only that order is declined.
ORDER_PARAMETERS = {"payment_method", "amount", "currency"}
NEVER_SENT = (ConnectTimeoutError, NewConnectionError)


def _was_never_sent(error: stripe.StripeError) -> bool:
    """Tell whether a request without an answer surely did not reach Stripe.

    A certificate is refused before the request is sent. Any other error of TLS may come with the
    answer, after Stripe has done its work.
    """
    cause = error.__cause__
    if isinstance(cause, SSLError):
        return any(isinstance(reason, ssl.SSLCertVerificationError) for reason in cause.args)
    return isinstance(getattr(cause, "original_error", cause), NEVER_SENT)


def _is_orders_fault(error: stripe.InvalidRequestError) -> bool:
    return error.param in ORDER_PARAMETERS


# The first row that applies decides. Every row but DECLINED is answered `Unanswered`.
MEANINGS = (
    ErrorMeaning(stripe.CardError, Effect.DECLINED, "The card was declined."),
    ErrorMeaning(
        stripe.RateLimitError,
        Effect.NOT_DONE,
        "Stripe limits our requests, or has locked the object (429).",
    ),
    ErrorMeaning(
        stripe.APIConnectionError,
        Effect.NOT_DONE,
        "Stripe could not be reached; nothing was sent.",
        _was_never_sent,
    ),
    ErrorMeaning(
        stripe.APIConnectionError,
        Effect.UNKNOWN,
        "Stripe did not answer in time, or broke the connection.",
    ),
    ErrorMeaning(
        stripe.APIError,
        Effect.UNKNOWN,
        "Stripe is handling another request under this key (409).",
        lambda error: error.http_status == 409,
    ),
    # 5xx, a redirect, no JSON
    ErrorMeaning(stripe.APIError, Effect.UNKNOWN, "Stripe failed."),
    ErrorMeaning(
        stripe.IdempotencyError,
        Effect.MISCONFIGURED,
        "Stripe has seen the key with other parameters: report this as a bug of the service.",
    ),
    ErrorMeaning(
        stripe.AuthenticationError,
        Effect.MISCONFIGURED,
        "Stripe rejects STRIPE_API_KEY (401): set a valid key.",
    ),
    ErrorMeaning(
        stripe.PermissionError,
        Effect.MISCONFIGURED,
        "STRIPE_API_KEY lacks a permission (403): give it that permission in Stripe's dashboard.",
    ),
    ErrorMeaning(
        stripe.InvalidRequestError,
        Effect.DECLINED,
        "Stripe cannot charge this order.",
        _is_orders_fault,
    ),
    ErrorMeaning(
        stripe.InvalidRequestError,
        Effect.MISCONFIGURED,
        "Stripe rejects the request: report this as a bug of the service.",
    ),
    ErrorMeaning(stripe.StripeError, Effect.UNKNOWN, "Stripe raised an error unknown to us."),
)

GENERIC = "generic_decline"
INVALID_AMOUNT = "invalid_amount"

# The reasons that a customer may see. Any other reason, such as stolen_card or fraudulent, is shown
# as GENERIC, because the holder of a stolen card must not learn that it is known to be stolen.
CUSTOMER_TEXTS = {
    GENERIC: "The card was declined.",
    "authentication_required": "The card needs its owner's confirmation, which was not given.",
    "card_not_supported": "The card does not support this kind of purchase.",
    "card_velocity_exceeded": "The card's limit is reached.",
    "currency_not_supported": "The card does not support this currency.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The card's security code is incorrect.",
    "incorrect_number": "The card's number is incorrect.",
    "incorrect_zip": "The card's postal code is incorrect.",
    "insufficient_funds": "The card has insufficient funds.",
    "invalid_amount": "This amount cannot be charged.",
    "invalid_currency": "This currency cannot be charged.",
    "invalid_payment_method": "There is no such payment method.",
    "issuer_not_available": "The card's bank could not be reached. Order again later.",
    "payment_intent_authentication_failure": "The payment was not confirmed by the card's owner.",
    "processing_error": "The card could not be processed. Order again later.",
    "try_again_later": "The card's bank did not decide. Order again later.",
    "withdrawal_count_limit_exceeded": "The card's limit is reached.",
}
# The texts for payment methods without a card, such as a bank account or a voucher.
TEXTS_WITHOUT_CARD = {
    GENERIC: "The payment was declined.",
    "insufficient_funds": "The account has insufficient funds.",
    "payment_intent_authentication_failure": "The payment was not confirmed by its owner.",
    "payment_intent_payment_attempt_expired": "The payment was not made in time.",
    "processing_error": "The payment could not be processed. Order again later.",
}
SHOWN_AS = {
    "invalid_cvc": "incorrect_cvc",
    "invalid_number": "incorrect_number",
    "invalid_expiry_month": "expired_card",
    "invalid_expiry_year": "expired_card",
    "amount_too_small": "invalid_amount",
    "amount_too_large": "invalid_amount",
    "reenter_transaction": "processing_error",
}
DECLINES_BY_PARAMETER = {
    "payment_method": "invalid_payment_method",
    "amount": "invalid_amount",
    "currency": "invalid_currency",
}


def answer_to_error(error: stripe.StripeError) -> Declined | Unanswered:
    """Return the answer that an error means."""
    meaning = next(row for row in MEANINGS if isinstance(error, row.error) and row.applies(error))
    if meaning.effect is Effect.DECLINED:
        code = _invalid_parameter(error) or _reason(error.error)
        return _declined(code, CUSTOMER_TEXTS if _has_card(error.error) else TEXTS_WITHOUT_CARD)
    return Unanswered(_text(meaning, error), retry_after=_retry_after(error))


def declined(error: stripe.StripeObject) -> Declined:
    """Return the decline of an intent, from the error that the intent keeps."""
    return _declined(_reason(error), CUSTOMER_TEXTS if _has_card(error) else TEXTS_WITHOUT_CARD)


def not_chargeable(amount: int, currency: str) -> Declined:
    """Return the decline of an amount that Stripe cannot charge, with the reason in words."""
    reason = STRIPE_CURRENCIES.reason_not_chargeable(amount, currency)
    return Declined(INVALID_AMOUNT, reason or CUSTOMER_TEXTS[INVALID_AMOUNT], INVALID_AMOUNT)


def is_replayed(error: stripe.StripeError) -> bool:
    """Tell whether Stripe repeated the saved error of a key."""
    return error.headers is not None and error.headers.get("Idempotent-Replayed") == "true"


def is_replayed_failure(error: stripe.StripeError) -> bool:
    """Tell whether a key is used up: it replays a 5xx, or belongs to another request."""
    return isinstance(error, stripe.IdempotencyError) or (
        is_replayed(error) and (error.http_status or 0) >= 500
    )


def in_words(error: stripe.StripeError) -> str:
    """Return the code, the text and the request id of an error, for operators."""
    text = error.user_message or "no text"
    request = f" Stripe's request id: {error.request_id}." if error.request_id else ""
    return f"{error.code or 'no code'}: {text}{request}"


def _text(meaning: ErrorMeaning, error: stripe.StripeError) -> str:
    has_status = meaning.error is stripe.APIError and error.http_status != 409
    status = f" ({error.http_status})" if has_status else ""
    is_wrong = meaning.effect is Effect.MISCONFIGURED
    detail = f" {error.code}: {error.user_message}" if is_wrong else ""
    request = f" Stripe's request id: {error.request_id}." if error.request_id else ""
    return f"{meaning.text}{status}{detail}{request}"


def _declined(code: str, texts: Mapping[str, str]) -> Declined:
    shown = SHOWN_AS.get(code, code)
    if shown not in texts:
        shown = GENERIC
    return Declined(code, texts[shown], shown)


def _has_card(error: Any) -> bool:
    """Tell whether an error is about a card. Errors without a payment method are about one, too."""
    method = getattr(error, "payment_method", None)
    return getattr(method, "type", "card") == "card"


def _invalid_parameter(error: stripe.StripeError) -> str | None:
    if not isinstance(error, stripe.InvalidRequestError):
        return None
    return DECLINES_BY_PARAMETER.get(error.param or "")


def _reason(error: Any) -> str:
    """Return the issuer's reason if Stripe passes it on, otherwise Stripe's own."""
    code = getattr(error, "code", None)
    return str(
        getattr(error, "decline_code", None)
        or (code if code != "card_declined" else None)
        or GENERIC
    )


def _retry_after(error: stripe.StripeError) -> float:
    """Return the seconds; 0 for a date, which Stripe does not send."""
    given = str((error.headers or {}).get("Retry-After", ""))
    return float(given) if given.isdecimal() else 0.0
