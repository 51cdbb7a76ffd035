"""What each of Stripe's answers means to us. Two tables: of errors, and of what a customer may be
told of a decline.

https://docs.stripe.com/api/errors, https://docs.stripe.com/error-low-level,
https://docs.stripe.com/declines/codes
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import requests
import stripe

from payments.gateways.base import Declined, Unanswered

__all__ = ["Sense", "declined", "is_replayed_failure", "meaning_of"]


class Sense(Enum):
    """What is to be made of an error."""

    NO = "declined, for good"
    NOTHING_DONE = "nothing was done; ask again"
    UNKNOWN = "it may have been done; ask again under the same key, and look it up"
    WRONG = "ours or Stripe's set-up is wrong: ask again for ever, cancel nothing, and have a person look"


class Meaning(NamedTuple):
    """A row of the table: an error, a condition on it, what it means, and our words for it."""

    error: type[stripe.StripeError]
    sense: Sense
    says: str
    when: Callable[[Any], bool] = lambda error: True


# What an order brings along: if one of these is invalid, it is so for that order alone.
OF_THE_ORDER = {"payment_method", "amount", "currency"}
NEVER_SENT = (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError)


def _was_never_sent(error: stripe.StripeError) -> bool:
    cause = error.__cause__
    return isinstance(cause, NEVER_SENT) or "NewConnectionError" in repr(cause)


# From top to bottom; the first row that fits decides. Every row but NO is answered `Unanswered`.
MEANINGS = (
    Meaning(stripe.CardError, Sense.NO, "The card was declined."),
    Meaning(
        stripe.RateLimitError,
        Sense.NOTHING_DONE,
        "Stripe wants fewer requests, or the object is locked (429).",
    ),
    Meaning(
        stripe.APIConnectionError,
        Sense.NOTHING_DONE,
        "Stripe could not be reached; nothing was sent.",
        _was_never_sent,
    ),
    Meaning(
        stripe.APIConnectionError, Sense.UNKNOWN, "Stripe did not answer in time, or broke off."
    ),
    Meaning(
        stripe.APIError,
        Sense.UNKNOWN,
        "Another request is under way under this key (409).",
        lambda error: error.http_status == 409,
    ),
    Meaning(stripe.APIError, Sense.UNKNOWN, "Stripe failed."),  # 5xx, a redirect, no JSON
    Meaning(
        stripe.IdempotencyError,
        Sense.WRONG,
        "The key was used with other parameters: a bug of ours.",
    ),
    Meaning(stripe.AuthenticationError, Sense.WRONG, "Stripe does not take STRIPE_API_KEY (401)."),
    Meaning(stripe.PermissionError, Sense.WRONG, "STRIPE_API_KEY may not do this (403)."),
    Meaning(
        stripe.InvalidRequestError,
        Sense.NO,
        "Stripe cannot charge this order.",
        lambda error: error.param in OF_THE_ORDER or error.code == "charge_already_refunded",
    ),
    Meaning(
        stripe.InvalidRequestError, Sense.WRONG, "Stripe does not take the request: a bug of ours."
    ),
    Meaning(stripe.StripeError, Sense.UNKNOWN, "Stripe answered what we do not know."),
)

GENERIC = "generic_decline"

# What the customer may be told. Of every other reason, stolen_card, fraudulent and the like, only
# that it was declined: whoever holds a stolen card must not learn that it is known to be.
TOLD = {
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
    "invalid_amount": "The amount cannot be charged to this card.",
    "invalid_currency": "This currency cannot be charged.",
    "invalid_payment_method": "There is no such payment method.",
    "issuer_not_available": "The card's bank could not be reached. Order again later.",
    "payment_intent_authentication_failure": "The payment was not confirmed by the card's owner.",
    "processing_error": "The card could not be processed. Order again later.",
    "try_again_later": "The card's bank did not decide. Order again later.",
    "withdrawal_count_limit_exceeded": "The card's limit is reached.",
}
SAME_AS = {
    "invalid_cvc": "incorrect_cvc",
    "invalid_number": "incorrect_number",
    "invalid_expiry_month": "expired_card",
    "invalid_expiry_year": "expired_card",
    "amount_too_small": "invalid_amount",
    "amount_too_large": "invalid_amount",
    "reenter_transaction": "processing_error",
}
INVALID = {
    "payment_method": "invalid_payment_method",
    "amount": "invalid_amount",
    "currency": "invalid_currency",
}


def meaning_of(error: stripe.StripeError) -> Declined | Unanswered:
    """Return what an error means, as an answer."""
    meaning = next(row for row in MEANINGS if isinstance(error, row.error) and row.when(error))
    if meaning.sense is Sense.NO:
        invalid = (
            INVALID.get(error.param or "")
            if isinstance(error, stripe.InvalidRequestError)
            else None
        )
        return _declined(invalid or _reason(error.error))
    request = f" Its request {error.request_id}." if error.request_id else ""
    detail = f" {error.code}: {error.user_message}" if meaning.sense is Sense.WRONG else ""
    status = (
        f" ({error.http_status})"
        if meaning.error is stripe.APIError and error.http_status != 409
        else ""
    )
    return Unanswered(f"{meaning.says}{status}{detail}{request}", retry_after=_retry_after(error))


def declined(error: stripe.StripeObject) -> Declined:
    """Return the decline that an error tells of, as an intent keeps it."""
    return _declined(_reason(error))


def _declined(code: str) -> Declined:
    told = SAME_AS.get(code, code)
    shown = told if told in TOLD else GENERIC
    return Declined(code, TOLD[shown], shown)


def is_replayed_failure(error: stripe.StripeError) -> bool:
    """Tell whether a key has nothing more to say: it repeats a failure of Stripe's, or stands
    for another request.
    """
    replayed = error.headers is not None and error.headers.get("Idempotent-Replayed") == "true"
    return isinstance(error, stripe.IdempotencyError) or (
        replayed and (error.http_status or 0) >= 500
    )


def _reason(error: Any) -> str:
    """Return the issuer's own reason where Stripe passes it on, else Stripe's."""
    code = getattr(error, "code", None)
    return str(
        getattr(error, "decline_code", None)
        or (code if code != "card_declined" else None)
        or GENERIC
    )


def _retry_after(error: stripe.StripeError) -> float:
    """Return the seconds; of a date, which Stripe does not send, nothing."""
    given = str((error.headers or {}).get("Retry-After", ""))
    return float(given) if given.isdecimal() else 0.0
