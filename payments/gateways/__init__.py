"""The ways to a customer's money, by the names that PAYMENT_GATEWAY may have."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from payments.gateways.base import PaymentGateway
from payments.gateways.simulated import SimulatedGateway
from payments.gateways.stripe import StripeGateway

__all__ = ["get_gateway", "knows_gateway"]

GATEWAYS: dict[str, type[PaymentGateway]] = {"simulated": SimulatedGateway, "stripe": StripeGateway}


def get_gateway(name: str = "") -> PaymentGateway:
    """Return the gateway of a name, by default the configured one; raise ImproperlyConfigured
    for an unknown one.
    """
    name = name or settings.PAYMENT_GATEWAY
    if not knows_gateway(name):
        raise ImproperlyConfigured(
            f"PAYMENT_GATEWAY is {name!r}; this version has: {', '.join(sorted(GATEWAYS))}."
        )
    return GATEWAYS[name]()


def knows_gateway(name: str) -> bool:
    """Tell whether this release has a gateway of this name; the empty one is the configured
    one's.
    """
    return not name or name in GATEWAYS
