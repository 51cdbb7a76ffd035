"""Links to the payment provider's own pages."""

from urllib.parse import quote, urlsplit

from django.conf import settings

from payments.models import Payment

__all__ = ["provider_page"]

STRIPE_DASHBOARD = "https://dashboard.stripe.com"
STRIPE_API_HOST = "api.stripe.com"
TEST_KEYS = ("sk_test_", "rk_test_")


def provider_page(payment: Payment) -> str | None:
    """Return the address of a payment's page at Stripe, or None if Stripe has no such page."""
    charge = payment.charge_id
    at_stripe = urlsplit(settings.STRIPE_API_BASE).hostname == STRIPE_API_HOST
    if not charge or payment.gateway != "stripe" or not at_stripe:
        return None

    mode = "/test" if settings.STRIPE_API_KEY.startswith(TEST_KEYS) else ""
    return f"{STRIPE_DASHBOARD}{mode}/payments/{quote(charge, safe='')}"
