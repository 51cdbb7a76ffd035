"""The payment gateways by name. PAYMENT_GATEWAY selects one for new payments."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from payments.gateways.base import PaymentGateway
from payments.gateways.simulated import SimulatedGateway
from payments.gateways.stripe import StripeGateway

__all__ = ["get_gateway", "knows_gateway"]

GATEWAYS: dict[str, type[PaymentGateway]] = {"simulated": SimulatedGateway, "stripe": StripeGateway}


def get_gateway(name: str = "") -> PaymentGateway:
    """Return a new gateway by name, by default the gateway that PAYMENT_GATEWAY names.

    Raise ImproperlyConfigured for an unknown name.
    """
    name = name or settings.PAYMENT_GATEWAY
    if not knows_gateway(name):
        raise ImproperlyConfigured(
            f"PAYMENT_GATEWAY is {name!r}; this version has: {', '.join(sorted(GATEWAYS))}."
        )
    return GATEWAYS[name]()


def knows_gateway(name: str) -> bool:
    """Tell whether this release has a gateway of this name. The empty name is PAYMENT_GATEWAY's."""
    return not name or name in GATEWAYS
