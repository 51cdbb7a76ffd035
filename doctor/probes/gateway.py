"""The payment gateway moves real money, and its webhooks arrive."""

import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import stripe
from django.conf import settings
from django.urls import reverse

from doctor.findings import Finding, Job, Options, fault, proved, unknown
from doctor.registry import probe
from doctor.runner import one_line
from payments.gateways.stripe.account import Account

__all__ = ["gateway"]

# Seconds for the requests to Stripe, below the limit of a job.
BUDGET = 5.0

LIVE_KEY = "Set STRIPE_API_KEY to a live key (sk_live_… or rk_live_…) of your account."


@probe("gateway", proves="the payment gateway is in live mode, and its webhooks are set up")
def gateway(options: Options) -> Sequence[Job]:
    look = {"simulated": _simulated, "stripe": _stripe}.get(settings.PAYMENT_GATEWAY, _other)
    return [Job("payment gateway", lambda: look(options))]


def _simulated(options: Options) -> Iterator[Finding]:
    if options.exposed:
        yield fault(
            "payment gateway: simulated, so goods leave and no money comes",
            "Set PAYMENT_GATEWAY=stripe with the key of your account.",
        )
    else:
        yield proved("payment gateway: simulated, which is enough on this machine alone")


def _other(options: Options) -> Iterator[Finding]:
    yield unknown(
        f"payment gateway: {settings.PAYMENT_GATEWAY} is a class of your own, whose mode cannot be "
        "looked up",
        "Check its mode by hand, and accept this line: --accept gateway",
    )


def _stripe(options: Options) -> Iterator[Finding]:
    account = Account(time.monotonic() + BUDGET)
    yield _mode(account, options)
    yield from _webhooks(account, options)


def _mode(account: Account, options: Options) -> Finding:
    try:
        live = account.is_live()
    except stripe.AuthenticationError as error:
        return fault(f"payment gateway: Stripe refuses the key: {one_line(error)}", LIVE_KEY)
    except stripe.StripeError as error:
        return unknown(
            f"payment gateway: Stripe does not tell the mode: {one_line(error)}",
            "Let the key read the balance, and check the network.",
        )
    if live:
        return proved("payment gateway: Stripe, in live mode")
    if options.exposed:
        return fault("payment gateway: Stripe, in test mode, so no money comes", LIVE_KEY)
    return proved("payment gateway: Stripe in test mode, which is enough on this machine alone")


def _webhooks(account: Account, options: Options) -> Iterator[Finding]:
    path = reverse("stripe-webhook")
    if not settings.STRIPE_WEBHOOK_SECRET:
        yield fault(
            "payment gateway: STRIPE_WEBHOOK_SECRET is not set, so no webhook is accepted",
            f"Set it to the secret (whsec_…) of the endpoint {path} in Stripe's dashboard.",
        )
        return
    try:
        urls = account.webhook_urls()
    except stripe.StripeError as error:
        yield unknown(
            f"payment gateway: Stripe does not tell the webhook endpoints: {one_line(error)}",
            "Let the key read webhook endpoints.",
        )
        return
    ours = [url for url in urls if urlsplit(url).path == path]
    if ours:
        yield proved(f"payment gateway: webhooks go to {', '.join(ours)}, and their secret is set")
    else:
        yield fault(
            f"payment gateway: no enabled webhook endpoint ends with {path}",
            "Add the endpoint in Stripe's dashboard, and set STRIPE_WEBHOOK_SECRET to its secret.",
        )
