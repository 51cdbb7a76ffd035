"""The one intent of a charge: made under the charge's key, found where the key has nothing to
say, confirmed once.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import stripe
from stripe import Charge, PaymentIntent, Refund

from payments.gateways.base import ChargeRequest
from payments.gateways.stripe.account import Account, NoAnswer
from payments.gateways.stripe.error_meanings import is_replayed_failure

__all__ = ["capture", "confirm", "intent_of", "written_on"]

# Stripe keeps a key for 24 hours at least. Ours is used for less, so that clocks may differ; and
# once it is forgotten for sure, whatever was made under it has been found by the search for hours.
USED = timedelta(hours=20)
FORGOTTEN = timedelta(hours=24)

# A key that repeats a failure of Stripe's, with no intent made under it, has a successor: each is
# made in turn, so all who ask use the same one.
SUCCESSORS = 5


def intent_of(account: Account, request: ChargeRequest) -> PaymentIntent | None:
    """Return the one intent of a charge as it is now, made if need be; None if there is none and
    will be none.
    """
    age = datetime.now(UTC) - request.opened_at
    if age > USED:
        found = account.search(request.key)
        if found is None and age < FORGOTTEN:
            raise NoAnswer(
                "Stripe may forget the key any time now, and has no intent of it as yet."
            )
        return found
    for key in _keys(request.key):
        try:
            intent = account.create(request, key)
        except stripe.APIError as error:
            if not is_replayed_failure(error):
                raise
            if found := _created_under(account, request):
                return found
        else:
            return account.retrieve(intent.id) if _is_replayed(intent) else intent
    raise NoAnswer(f"Stripe has failed {SUCCESSORS} times to create the intent.")


def confirm(
    account: Account, intent: PaymentIntent, key: str, *, capture_later: bool
) -> PaymentIntent:
    """Confirm an intent that only was created, and return it as it is then. Raises
    `stripe.CardError`.
    """
    return _once(
        account, intent, partial(account.confirm, capture_later=capture_later), f"{key}-confirm"
    )


def capture(account: Account, intent: PaymentIntent, key: str) -> PaymentIntent:
    """Capture an intent that only is authorized, and return it as it is then. Raises
    `stripe.CardError`.
    """
    return _once(account, intent, account.capture, f"{key}-capture")


def _once(
    account: Account,
    intent: PaymentIntent,
    act: Callable[[str, str | None], PaymentIntent],
    key: str,
) -> PaymentIntent:
    """Act on an intent under a key; where that only repeats a failure, and nothing came of it,
    without one.
    """
    try:
        done = act(intent.id, key)
    except stripe.StripeError as error:
        if not is_replayed_failure(error):
            raise
        done = account.retrieve(intent.id)
        if done.status == intent.status:
            return act(intent.id, None)
    return account.retrieve(intent.id) if _is_replayed(done) else done


def written_on(thing: PaymentIntent | Charge | Refund, name: str) -> str:
    """Return what we wrote on an object of Stripe's under a name; empty where there is none."""
    return str(thing.metadata[name]) if thing.metadata and name in thing.metadata else ""


def _keys(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key}-{number}" for number in range(2, SUCCESSORS + 1))


def _created_under(account: Account, request: ChargeRequest) -> PaymentIntent | None:
    """Look for an intent: what the search finds is there; that it is not there, only the list
    can say.
    """
    if found := account.search(request.key):
        return found
    since = request.opened_at - timedelta(minutes=5)  # for the clocks
    return next(
        (one for one in account.created_since(since) if written_on(one, "key") == request.key), None
    )


def _is_replayed(answer: stripe.StripeObject) -> bool:
    return (
        answer.last_response is not None
        and answer.last_response.headers.get("Idempotent-Replayed") == "true"
    )
