"""The payment intent of a charge: created or found once, confirmed once, captured once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import stripe
from stripe import PaymentIntent

from payments.gateways.base import ChargeRequest
from payments.gateways.stripe.account import Account, NoAnswer
from payments.gateways.stripe.error_meanings import is_replayed_failure
from payments.gateways.stripe.objects import metadata_of

__all__ = ["capture", "confirm", "get_or_create"]

# Stripe keeps a key for at least 24 hours. We use a key for less, because clocks differ. When
# Stripe has forgotten a key for sure, its search has known any intent of the key for hours.
KEY_USED_FOR = timedelta(hours=20)
KEY_FORGOTTEN_AFTER = timedelta(hours=24)

# A key that replays a failure of Stripe's, and made no intent, is followed by the next numbered
# key. All workers use the same sequence, so they share one intent.
MOST_KEYS = 5


def get_or_create(account: Account, request: ChargeRequest) -> PaymentIntent | None:
    """Return the charge's intent in its present state, created if need be.

    Return None if the charge has no intent and will have none, because its key is too old. Raise
    NoAnswer if Stripe cannot tell at present.
    """
    age = datetime.now(UTC) - request.opened_at
    if age > KEY_USED_FOR:
        found = account.search(request.key)
        if found is None and age < KEY_FORGOTTEN_AFTER:
            raise NoAnswer(
                f"Stripe has no intent under key {request.key}, and may soon forget the key. "
                "The charge is looked up again, and decided when the key is 24 hours old."
            )
        return found

    for key in _keys(request.key):
        try:
            intent = account.create(request, key)
        except stripe.APIError as error:
            if not is_replayed_failure(error):
                raise
            if found := _find_by_metadata(account, request):
                return found
        else:
            return account.retrieve(intent.id) if _is_replayed(intent) else intent
    raise NoAnswer(f"Stripe failed {MOST_KEYS} times to create the intent of key {request.key}.")


def confirm(
    account: Account, intent: PaymentIntent, key: str, *, capture_later: bool
) -> PaymentIntent:
    """Confirm a created intent; return its new state. Raise stripe.CardError if it is declined."""
    return _act_once(
        account, intent, partial(account.confirm, capture_later=capture_later), f"{key}-confirm"
    )


def capture(account: Account, intent: PaymentIntent, key: str) -> PaymentIntent:
    """Capture an authorized intent; return its new state. Raise stripe.CardError if declined."""
    return _act_once(account, intent, account.capture, f"{key}-capture")


def _act_once(
    account: Account,
    intent: PaymentIntent,
    act: Callable[[str, str | None], PaymentIntent],
    key: str,
) -> PaymentIntent:
    """Act on an intent under a key. If the key replays a failure, and the intent has not changed,
    act again without a key.
    """
    try:
        changed = act(intent.id, key)
    except stripe.StripeError as error:
        if not is_replayed_failure(error):
            raise
        changed = account.retrieve(intent.id)
        if changed.status == intent.status:
            return act(intent.id, None)
    return account.retrieve(intent.id) if _is_replayed(changed) else changed


def _keys(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key}-{number}" for number in range(2, MOST_KEYS + 1))


def _find_by_metadata(account: Account, request: ChargeRequest) -> PaymentIntent | None:
    """Look for a charge's intent by the key in its metadata.

    An intent that the search finds exists. Only the list can tell that there is none, because the
    search lags behind.
    """
    if found := account.search(request.key):
        return found

    since = request.opened_at - timedelta(minutes=5)  # because clocks differ
    intents = account.created_since(since)
    return next((each for each in intents if metadata_of(each, "key") == request.key), None)


def _is_replayed(answer: stripe.StripeObject) -> bool:
    return (
        answer.last_response is not None
        and answer.last_response.headers.get("Idempotent-Replayed") == "true"
    )
