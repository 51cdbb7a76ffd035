"""The payment intent of a charge: created or found once, confirmed once, captured once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import stripe
from stripe import PaymentIntent

from payments.gateways.base import ChargeRequest
from payments.gateways.stripe.account import Account, NoAnswer
from payments.gateways.stripe.currencies import is_expressible
from payments.gateways.stripe.error_meanings import is_replayed_failure
from payments.gateways.stripe.objects import is_replayed, metadata_of

__all__ = ["capture", "confirm", "get_or_create"]

# Stripe keeps a key for at least 24 hours: https://docs.stripe.com/api/idempotent_requests. The
# charge of a younger saga is found by its key. We search for the others some hours earlier, because
# clocks differ. When Stripe has forgotten a key, its search has known the key's intent for hours.
KEY_IS_ENOUGH_FOR = timedelta(hours=20)
KEY_FORGOTTEN_AFTER = timedelta(hours=24)
CLOCKS_DIFFER_BY = timedelta(minutes=5)

# A key that replays a failure of Stripe's, and made no intent, is followed by the next numbered
# key. All workers use the same sequence, so they share one intent. After 24 hours, Stripe has
# forgotten the failures, and the sequence starts anew.
MOST_KEYS = 5


def get_or_create(account: Account, request: ChargeRequest) -> PaymentIntent | None:
    """Return the charge's intent in its present state, created if need be.

    Return None if the charge has no intent and will have none, because Stripe has no such amount.
    Raise NoAnswer if Stripe cannot tell at present.

    An intent of the last 24 hours is found by its key, an older one by Stripe's search. Stripe
    limits searches to 20 a second, so a young saga needs none.
    """
    if not is_expressible(request.amount, request.currency):
        return _find_by_metadata(account, request)
    if datetime.now(UTC) - request.opened_at > KEY_IS_ENOUGH_FOR:
        found = account.search(request.key)
        if found:
            return found
    return _create(account, request)


def _create(account: Account, request: ChargeRequest) -> PaymentIntent:
    for key in _keys(request.key):
        try:
            intent = account.create(request, key)
        except (stripe.APIError, stripe.IdempotencyError) as error:
            if not is_replayed_failure(error):
                raise
            if found := _find_by_metadata(account, request):
                return found
        else:
            return account.retrieve(intent.id) if is_replayed(intent) else intent
    raise NoAnswer(
        f"Stripe repeats earlier failures for {MOST_KEYS} keys of the charge {request.key}. They "
        "are used again when Stripe has forgotten the failures, after 24 hours."
    )


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
    return account.retrieve(intent.id) if is_replayed(changed) else changed


def _keys(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key}-{number}" for number in range(2, MOST_KEYS + 1))


def _find_by_metadata(account: Account, request: ChargeRequest) -> PaymentIntent | None:
    """Look for a charge's intent by the key in its metadata.

    An intent that the search finds exists. Only the list can tell that there is no newer one,
    because the search lags behind.
    """
    if found := account.search(request.key):
        return found

    oldest_unsearchable = datetime.now(UTC) - KEY_FORGOTTEN_AFTER
    since = max(request.opened_at, oldest_unsearchable) - CLOCKS_DIFFER_BY
    intents = account.created_since(since)
    return next((each for each in intents if metadata_of(each, "key") == request.key), None)
