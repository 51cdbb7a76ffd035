"""Where a payment is to be seen at its provider."""

import re
from urllib.parse import quote, urlsplit

from django.conf import settings

from payments.models import Payment

__all__ = ["page_of"]

DASHBOARD = "https://dashboard.stripe.com"
STRIPE = "api.stripe.com"
TEST_KEYS = ("sk_test_", "rk_test_")

# The simulated gateway makes its ids of a UUID, which Stripe does not.
SIMULATED = re.compile(r"ch_[0-9a-f]{32}")


def page_of(payment: Payment) -> str | None:
    """Return the address of a payment's page at Stripe, in test or live mode; None where Stripe has no such page."""
    charge = payment.charge_id
    if not charge or not _with_stripe(charge) or urlsplit(settings.STRIPE_API_BASE).hostname != STRIPE:
        return None
    mode = "/test" if settings.STRIPE_API_KEY.startswith(TEST_KEYS) else ""
    return f"{DASHBOARD}{mode}/payments/{quote(charge, safe='')}"


def _with_stripe(charge: str) -> bool:
    """Tell by the provider's reference whether a payment was made with Stripe."""
    return SIMULATED.fullmatch(charge) is None
