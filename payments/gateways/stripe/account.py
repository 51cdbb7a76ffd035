"""Our account at Stripe: the few requests we make, through Stripe's own client, each within its
limits of time.

The client does not retry by itself, for the saga does; it speaks one version of the API, whichever
the account is set to; and it follows no redirect: our key goes to no other host.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from typing import Any

import requests
import stripe
from django.conf import settings
from stripe import Charge, PaymentIntent, Refund, StripeClient, V1Services
from stripe.params import PaymentIntentConfirmParams

from payments.gateways.base import ChargeRequest, RefundRequest

__all__ = ["API_VERSION", "AT_ONCE", "BUDGET", "CONNECT", "READ", "Account", "NoAnswer", "session"]

API_VERSION = "2026-10-28.endive"

# Seconds. One request may take CONNECT and READ; a step begins none after BUDGET. Their sum lies
# below the lease of its messages (30 s) and the soft limit of its task (40 s), however slow Stripe
# is; `payments.checks` holds them to that.
CONNECT = 2.0
READ = 8.0
BUDGET = 15.0

# Requests at once, and so the connections that are kept: two seconds for a batch of a hundred
# charges at Stripe's usual pace, and within its limit of a hundred requests a second with a few
# workers.
AT_ONCE = 25

PAGE = 100

# The intent, or what is authorized by it, has moved on.
TOO_LATE = {
    "payment_intent_unexpected_state",
    "charge_already_captured",
    "charge_expired_for_capture",
}

# Pages of intents to look through for one whose key has nothing to say: 2,000 intents made since.
MOST_PAGES = 20


class NoAnswer(Exception):
    """There is no answer now, for a reason of ours; ask again."""


class Account:
    """The requests, until a moment: after `until` (of `time.monotonic`) none is begun."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.client = _client(settings.STRIPE_API_KEY, settings.STRIPE_API_BASE)

    def create(self, charge: ChargeRequest, key: str) -> PaymentIntent:
        """Create an intent that nobody has confirmed, so that nothing is charged; under its key,
        only one.

        What is sent here must stay as it is: a key used by the last release must fit what this one
        sends.
        """
        return self._v1.payment_intents.create(
            {
                "amount": charge.amount,
                "currency": charge.currency,
                "payment_method": charge.payment_method,
                "metadata": {"order_id": str(charge.order_id), "key": charge.key},
            },
            {"idempotency_key": key},
        )

    def confirm(self, intent: str, key: str | None, *, capture_later: bool) -> PaymentIntent:
        """Charge an intent. Stripe confirms one once, whatever the key; a declined one needs a
        new card first.
        """
        how: PaymentIntentConfirmParams = {"return_url": settings.PAYMENT_RETURN_URL}
        if capture_later:
            how["capture_method"] = "manual"
        return self._v1.payment_intents.confirm(intent, how, _under(key))

    def capture(self, intent: str, key: str | None) -> PaymentIntent:
        """Take all that is authorized, or return the intent as it is where that is not possible
        any more.
        """
        return self._unless_too_late(
            intent, lambda: self._v1.payment_intents.capture(intent, {}, _under(key))
        )

    def cancel(self, intent: str) -> PaymentIntent:
        """Bar an intent for ever, or return it as it is where that is not possible any more.

        Without a key: a key would keep repeating a refusal that was of its moment.
        """
        return self._unless_too_late(intent, lambda: self._v1.payment_intents.cancel(intent))

    def retrieve(self, intent: str) -> PaymentIntent:
        """Return an intent as it is now."""
        return self._v1.payment_intents.retrieve(intent)

    def capture_before(self, charge: str) -> int | None:
        """Return until when an authorization can be captured, in seconds since 1970, where
        Stripe says it.
        """
        details = self._v1.charges.retrieve(charge).payment_method_details
        return getattr(details.card, "capture_before", None) if details else None

    def created_since(self, since: datetime) -> Iterator[PaymentIntent]:
        """Yield the intents made since then, the newest first. Lists are true at once, where a
        search lags behind.
        """
        page = self._v1.payment_intents.list(
            {"created": {"gte": int(since.timestamp())}, "limit": PAGE}
        )
        for _ in range(MOST_PAGES):
            yield from page.data
            if not page.has_more:
                return
            self._be_on_time()
            page = page.next_page()
        raise NoAnswer(
            f"More than {MOST_PAGES * PAGE} intents were made since {since}: none was found among them."
        )

    def search(self, key: str) -> PaymentIntent | None:
        """Return the intent made under a key, as far as Stripe's search has heard of it."""
        found = self._v1.payment_intents.search({"query": f"metadata['key']:'{key}'", "limit": 1})
        return self.retrieve(found.data[0].id) if found.data else None

    def refunds_of(self, charge: str) -> list[Refund]:
        """Return all refunds of a charge."""
        page = self._v1.refunds.list({"charge": charge, "limit": PAGE})
        return list(page.auto_paging_iter())

    def give_back(self, refund: RefundRequest) -> Refund:
        """Refund a charge, once under its key. Stripe refuses more than is left of it."""
        return self._v1.refunds.create(
            {
                "charge": refund.charge_id,
                "amount": refund.amount,
                "metadata": {"order_id": str(refund.order_id), "key": refund.key},
            },
            {"idempotency_key": refund.key},
        )

    def charges(self, since: datetime, until: datetime) -> Iterator[Charge]:
        """Yield the charges made in a window, page by page."""
        page = self._v1.charges.list({"created": _window(since, until), "limit": PAGE})
        return page.auto_paging_iter()

    def refunds(self, since: datetime, until: datetime) -> Iterator[Refund]:
        """Yield the refunds made in a window, page by page."""
        page = self._v1.refunds.list({"created": _window(since, until), "limit": PAGE})
        return page.auto_paging_iter()

    def _unless_too_late(self, intent: str, act: Callable[[], PaymentIntent]) -> PaymentIntent:
        try:
            return act()
        except stripe.InvalidRequestError as error:
            if error.code not in TOO_LATE:
                raise
            return self.retrieve(intent)

    @property
    def _v1(self) -> V1Services:
        self._be_on_time()
        return self.client.v1

    def _be_on_time(self) -> None:
        if time.monotonic() > self.until:
            raise NoAnswer("The step ran out of time before Stripe was asked.")


class _Session(requests.Session):
    """Follows no redirect."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return nothing: wherever it leads, we do not go there."""


@cache
def session() -> requests.Session:
    """Return this process's connections to Stripe."""
    made = _Session()
    for scheme in ("https://", "http://"):
        made.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))
    return made


@cache
def _client(api_key: str, api_base: str) -> StripeClient:
    stripe.enable_telemetry = False
    log = logging.getLogger("stripe")
    log.setLevel(
        max(logging.INFO, log.getEffectiveLevel())
    )  # below that it logs whole answers, client secrets and all
    return StripeClient(
        api_key,
        stripe_version=API_VERSION,
        base_addresses={"api": api_base.rstrip("/")},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=(CONNECT, READ), session=session()),
    )


def _under(key: str | None) -> stripe.RequestOptions:
    return {"idempotency_key": key} if key else {}


def _window(since: datetime, until: datetime) -> Any:
    return {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
