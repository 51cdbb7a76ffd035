"""The requests to our account at Stripe, through Stripe's own client, with time limits.

The client does not retry, because the saga does. It speaks one version of the API, whichever the
account is set to. It follows no redirect, because that would send our key to another host.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from typing import Any

import stripe
from django.conf import settings
from stripe import (
    BalanceTransaction,
    Charge,
    Dispute,
    PaymentIntent,
    Refund,
    StripeClient,
    V1Services,
)
from stripe.params import PaymentIntentConfirmParams

from payments.gateways.base import ChargeRequest, PartRefundRequest, RefundRequest
from payments.gateways.stripe.currencies import to_stripe
from payments.gateways.stripe.http import HTTP

__all__ = ["API_VERSION", "AT_ONCE", "BUDGET", "CONNECT", "READ", "Account", "NoAnswer", "http"]

API_VERSION = "2026-10-28.endive"

# Seconds. One request takes at most CONNECT and READ, and a step starts none after BUDGET. Their
# sum is below the budget of a call (`payments.gateway_requests.CALL_BUDGET`), the lease of the
# step's messages (30 s) and the soft limit of a task (40 s). `payments.checks` verifies this.
CONNECT = 2.0
READ = 8.0
BUDGET = 15.0

# Requests at once of a batch, such as those of the reconciliation. A few workers stay within
# Stripe's limit of a hundred requests a second.
AT_ONCE = 25

PAGE = 100

# Error codes of an intent that has changed its state before our request.
TOO_LATE = {
    "payment_intent_unexpected_state",
    "charge_already_captured",
    "charge_expired_for_capture",
}

# The types of the transactions that return the money of a failed refund: of a card, of any other
# payment method, and adjustments. The last two have other transactions as well. An adjustment may
# name the refund in its description only.
# https://docs.stripe.com/reports/balance-transaction-types
REFUND_FAILURES = ("refund_failure", "payment_refund", "adjustment")
REFUND_ID = re.compile(r"\b(?:re|pyr)_[A-Za-z0-9]+")

# Pages of intents to read when looking for one by its metadata: 2,000 intents.
MOST_PAGES = 20


class NoAnswer(Exception):
    """We have no answer for a reason of our own. Ask again later."""


class Account:
    """Requests to Stripe. None starts after `until`, in seconds of `time.monotonic`."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.client = _client(settings.STRIPE_API_KEY, settings.STRIPE_API_BASE)

    def create(self, charge: ChargeRequest, key: str) -> PaymentIntent:
        """Create an unconfirmed intent, one for each key. It charges nothing.

        Do not change the parameters, because Stripe refuses a key of the last release with others.
        """
        return self._v1.payment_intents.create(
            {
                "amount": to_stripe(charge.amount, charge.currency),
                "currency": charge.currency,
                "payment_method": charge.payment_method,
                "metadata": {"order_id": str(charge.order_id), "key": charge.key},
            },
            {"idempotency_key": key},
        )

    def confirm(self, intent: str, key: str | None, *, capture_later: bool) -> PaymentIntent:
        """Charge an intent. Stripe confirms an intent once, under any key. A declined intent needs
        a new card first.
        """
        params: PaymentIntentConfirmParams = {"return_url": settings.PAYMENT_RETURN_URL}
        if capture_later:
            params["capture_method"] = "manual"
        return self._v1.payment_intents.confirm(intent, params, _key_options(key))

    def capture(self, intent: str, key: str | None) -> PaymentIntent:
        """Take the authorized amount. If it is too late, return the intent unchanged."""
        return self._unless_too_late(
            intent, lambda: self._v1.payment_intents.capture(intent, {}, _key_options(key))
        )

    def cancel(self, intent: str) -> PaymentIntent:
        """Cancel an intent forever. If it is too late, return the intent unchanged.

        It has no key, because a key would replay a refusal that was true only at the time.
        """
        return self._unless_too_late(intent, lambda: self._v1.payment_intents.cancel(intent))

    def retrieve(self, intent: str) -> PaymentIntent:
        """Return an intent in its present state."""
        return self._v1.payment_intents.retrieve(intent)

    def capture_before(self, charge: str) -> int | None:
        """Return when an authorization ends, in seconds since 1970; None if Stripe does not say."""
        details = self._v1.charges.retrieve(charge).payment_method_details
        return getattr(details.card, "capture_before", None) if details else None

    def created_since(self, since: datetime) -> Iterator[PaymentIntent]:
        """Yield the intents created since a time, the newest first.

        The list is complete at once, unlike the search. Raise NoAnswer after MOST_PAGES.
        """
        page = self._v1.payment_intents.list(
            {"created": {"gte": int(since.timestamp())}, "limit": PAGE}
        )
        for _ in range(MOST_PAGES):
            yield from page.data
            if not page.has_more:
                return
            self._check_budget()
            page = page.next_page()
        raise NoAnswer(
            f"Stripe has more than {MOST_PAGES * PAGE} intents since {since}; the one looked for "
            "was not among the newest. Stripe's search is asked again."
        )

    def search(self, key: str) -> PaymentIntent | None:
        """Return the intent of a key, if Stripe's search has it already."""
        found = self._v1.payment_intents.search({"query": f"metadata['key']:'{key}'", "limit": 1})
        return self.retrieve(found.data[0].id) if found.data else None

    def charge(self, charge: str) -> Charge:
        """Return a charge in its present state."""
        return self._v1.charges.retrieve(charge)

    def disputes_of(self, charge: str) -> list[Dispute]:
        """Return all disputes of a charge."""
        page = self._v1.disputes.list({"charge": charge, "limit": PAGE})
        return list(page.auto_paging_iter())

    def refunds_of(self, charge: str) -> list[Refund]:
        """Return all refunds of a charge."""
        page = self._v1.refunds.list({"charge": charge, "limit": PAGE})
        return list(page.auto_paging_iter())

    def create_refund(
        self, refund: RefundRequest | PartRefundRequest, key: str, amount: int
    ) -> Refund:
        """Refund an amount of a charge, once for each key. Stripe refuses more than is left."""
        return self._v1.refunds.create(
            {
                "charge": refund.charge_id,
                "amount": to_stripe(amount, refund.currency),
                "metadata": {"order_id": str(refund.order_id), "key": refund.key},
            },
            {"idempotency_key": key},
        )

    def refund(self, refund: str) -> Refund:
        """Return a refund in its present state."""
        return self._v1.refunds.retrieve(refund)

    def charges(self, since: datetime, until: datetime) -> Iterator[Charge]:
        """Yield the charges created in a window, page by page."""
        page = self._v1.charges.list({"created": _window(since, until), "limit": PAGE})
        return page.auto_paging_iter()

    def refunds(self, since: datetime, until: datetime) -> Iterator[Refund]:
        """Yield the refunds created in a window, page by page."""
        page = self._v1.refunds.list({"created": _window(since, until), "limit": PAGE})
        return page.auto_paging_iter()

    def adjustments(self, since: datetime, until: datetime) -> Iterator[BalanceTransaction]:
        """Yield the adjustments of the balance in a window, with their sources, page by page.

        Stripe enters the withdrawals and returns of disputes as adjustments:
        https://docs.stripe.com/reports/balance-transaction-types
        """
        return self._transactions("adjustment", since, until)

    def refunds_moved(self, since: datetime, until: datetime) -> Iterator[Refund]:
        """Yield the refunds with a transaction in a window that may return their money.

        The refund's status says whether it has failed.
        """
        for kind in REFUND_FAILURES:
            for transaction in self._transactions(kind, since, until):
                refund = self.refund_of(transaction)
                if refund is not None:
                    yield refund

    def refund_of(self, transaction: BalanceTransaction) -> Refund | None:
        """Return the refund of a transaction, by its source or description; None if it has none."""
        if isinstance(transaction.source, Refund):
            return transaction.source
        named = REFUND_ID.search(transaction.description or "")
        if transaction.source is not None or named is None:
            return None
        try:
            return self.refund(named[0])
        except stripe.InvalidRequestError:  # no refund of this account
            return None

    def _transactions(
        self, kind: str, since: datetime, until: datetime
    ) -> Iterator[BalanceTransaction]:
        page = self._v1.balance_transactions.list(
            {
                "created": _window(since, until),
                "type": kind,
                "expand": ["data.source"],
                "limit": PAGE,
            }
        )
        return page.auto_paging_iter()

    def is_live(self) -> bool:
        """Return whether the key moves real money: Stripe says so in every object."""
        return self._v1.balance.retrieve().livemode

    def webhook_urls(self) -> list[str]:
        """Return the URLs of the enabled webhook endpoints. A restricted key may lack the right."""
        page = self._v1.webhook_endpoints.list({"limit": PAGE})
        return [endpoint.url for endpoint in page.data if endpoint.status == "enabled"]

    def _unless_too_late(self, intent: str, act: Callable[[], PaymentIntent]) -> PaymentIntent:
        try:
            return act()
        except stripe.InvalidRequestError as error:
            if error.code not in TOO_LATE:
                raise
            return self.retrieve(intent)

    @property
    def _v1(self) -> V1Services:
        self._check_budget()
        return self.client.v1

    def _check_budget(self) -> None:
        if time.monotonic() > self.until:
            raise NoAnswer("The step used up its time before it could send this request to Stripe.")


@cache
def http(base: str) -> HTTP:
    """Return this process's connections to a server."""
    kept_open = max(AT_ONCE, settings.SAGA_CALLS_AT_ONCE)
    return HTTP(base, connect=CONNECT, read=READ, kept_open=kept_open)


@cache
def _client(api_key: str, api_base: str) -> StripeClient:
    base = api_base.rstrip("/")
    stripe.enable_telemetry = False
    # At INFO, the client logs two lines for each request, with the order's id in the query of a
    # search. Below INFO, it logs whole answers with the client secrets in them.
    log = logging.getLogger("stripe")
    log.setLevel(max(logging.WARNING, log.getEffectiveLevel()))
    return StripeClient(
        api_key,
        stripe_version=API_VERSION,
        base_addresses={"api": base},
        max_network_retries=0,
        http_client=http(base),
    )


def _key_options(key: str | None) -> stripe.RequestOptions:
    return {"idempotency_key": key} if key else {}


def _window(since: datetime, until: datetime) -> Any:
    return {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
