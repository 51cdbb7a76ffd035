"""A wrong gateway setting is found when a process starts, not when a customer pays."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (its name in Django)
from django.core.exceptions import ImproperlyConfigured

from payments.gateways import get_gateway
from payments.gateways.stripe.account import BUDGET, CONNECT, READ

__all__ = ["check_gateway"]

LOCAL = {"localhost", "127.0.0.1", "::1"}


@register
def check_gateway(**kwargs: Any) -> list[CheckMessage]:
    """Report a PAYMENT_GATEWAY that cannot be used, or not as it is set up."""
    try:
        get_gateway()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="payments.E001")]
    return list(_stripe()) if settings.PAYMENT_GATEWAY == "stripe" else []


def _stripe() -> Iterator[CheckMessage]:
    if not settings.STRIPE_API_KEY:
        yield Error(
            "STRIPE_API_KEY is not set.",
            hint="A secret or restricted key of your account.",
            id="payments.E002",
        )
    if not settings.STRIPE_WEBHOOK_SECRET:
        hint = "The signing secret (whsec_…) of the endpoint /api/v1/payments/webhooks/stripe/."
        yield Error("STRIPE_WEBHOOK_SECRET is not set.", hint=hint, id="payments.E003")
    base = urlsplit(settings.STRIPE_API_BASE)
    if not base.hostname or (base.scheme != "https" and base.hostname not in LOCAL):
        hint = "The key travels with every request: https, or this very machine."
        yield Error(
            f"STRIPE_API_BASE is {settings.STRIPE_API_BASE!r}.", hint=hint, id="payments.E004"
        )
    longest, lease = BUDGET + CONNECT + READ, settings.SAGA_LEASE_SECONDS
    if longest >= min(lease, settings.CELERY_TASK_SOFT_TIME_LIMIT):
        hint = "Else a second worker takes over what the first is still asking Stripe: safe, but twice the requests."
        text = f"SAGA_LEASE_SECONDS and 0.8 × TASK_TIME_LIMIT must be above the {longest:.0f} s that a step may take."
        yield Warning(text, hint=hint, id="payments.W001")
