"""Where a payment is to be seen at its provider."""

from urllib.parse import quote, urlsplit

from django.conf import settings

from payments.models import Payment

__all__ = ["page_of"]

DASHBOARD = "https://dashboard.stripe.com"
STRIPE = "api.stripe.com"
TEST_KEYS = ("sk_test_", "rk_test_")


def page_of(payment: Payment) -> str | None:
    """Return the address of a payment's page at Stripe, in test or live mode; None where Stripe
    has no such page.
    """
    charge = payment.charge_id
    if (
        not charge
        or payment.gateway != "stripe"
        or urlsplit(settings.STRIPE_API_BASE).hostname != STRIPE
    ):
        return None
    mode = "/test" if settings.STRIPE_API_KEY.startswith(TEST_KEYS) else ""
    return f"{DASHBOARD}{mode}/payments/{quote(charge, safe='')}"
