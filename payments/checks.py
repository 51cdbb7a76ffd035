"""System checks of the gateway settings, run when a process starts."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (its name in Django)
from django.core.exceptions import ImproperlyConfigured

from payments.gateway_requests import CALL_BUDGET
from payments.gateways import get_gateway
from payments.gateways.stripe.account import BUDGET, CONNECT, READ

__all__ = ["check_gateway"]

LOCAL = {"localhost", "127.0.0.1", "::1"}


@register
def check_gateway(**kwargs: Any) -> list[CheckMessage]:
    """Report a PAYMENT_GATEWAY that does not exist, or whose settings are wrong.

    Only a process that serves payments needs the keys.
    """
    try:
        get_gateway()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="payments.E001")]
    if settings.PAYMENT_GATEWAY != "stripe" or "payments" not in settings.SERVED:
        return []
    return list(_stripe())


def _stripe() -> Iterator[CheckMessage]:
    if not settings.STRIPE_API_KEY:
        yield Error(
            "STRIPE_API_KEY is not set.",
            hint="Set it to a secret or restricted key of your Stripe account.",
            id="payments.E002",
        )
    if not settings.STRIPE_WEBHOOK_SECRET:
        hint = (
            "Set it to the signing secret (whsec_…) of the endpoint "
            "/api/v1/payments/webhooks/stripe/ in Stripe's dashboard."
        )
        yield Error("STRIPE_WEBHOOK_SECRET is not set.", hint=hint, id="payments.E003")
    base = urlsplit(settings.STRIPE_API_BASE)
    if not base.hostname or (base.scheme != "https" and base.hostname not in LOCAL):
        hint = "Use https, or a host of this machine, because each request carries the API key."
        yield Error(
            f"STRIPE_API_BASE is {settings.STRIPE_API_BASE!r}, which is not a safe URL.",
            hint=hint,
            id="payments.E004",
        )
    longest, lease = BUDGET + CONNECT + READ, settings.SAGA_LEASE_SECONDS
    if longest >= min(lease, settings.CELERY_TASK_SOFT_TIME_LIMIT, CALL_BUDGET):
        hint = (
            "A command that runs a step does not extend its claims, and a worker that stops waits "
            "for its calls at most for TASK_TIME_LIMIT. Otherwise a second worker sends the same "
            "requests while the first still waits for Stripe. Money is safe, but Stripe gets twice "
            "the requests."
        )
        text = (
            f"A Stripe call may take {longest:.0f} s. Raise SAGA_LEASE_SECONDS and "
            f"0.8 × TASK_TIME_LIMIT above that."
        )
        yield Warning(text, hint=hint, id="payments.W001")
