"""The ways to a customer's money: `get_gateway()` returns the one that PAYMENT_GATEWAY names."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from payments.gateways.base import PaymentGateway
from payments.gateways.simulated import SimulatedGateway
from payments.gateways.stripe import StripeGateway

__all__ = ["get_gateway"]

GATEWAYS: dict[str, type[PaymentGateway]] = {"simulated": SimulatedGateway, "stripe": StripeGateway}


def get_gateway() -> PaymentGateway:
    """Return the configured gateway; raise ImproperlyConfigured for an unknown one."""
    name = settings.PAYMENT_GATEWAY
    if name not in GATEWAYS:
        raise ImproperlyConfigured(f"PAYMENT_GATEWAY is {name!r}; this version has: {', '.join(sorted(GATEWAYS))}.")
    return GATEWAYS[name]()
