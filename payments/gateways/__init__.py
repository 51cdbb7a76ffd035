"""The payment gateways by name. PAYMENT_GATEWAY selects one for new payments.

A name is `simulated`, `stripe`, or the dotted path of a `PaymentGateway` class, such as
`acme.gateway.AcmeGateway`.
"""

import inspect

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from payments.gateways.base import PaymentGateway
from payments.gateways.simulated import SimulatedGateway
from payments.gateways.stripe import StripeGateway

__all__ = ["gateway_class", "get_gateway", "knows_gateway", "reason_not_chargeable"]

GATEWAYS: dict[str, type[PaymentGateway]] = {"simulated": SimulatedGateway, "stripe": StripeGateway}

# The length of the column of payments that stores the name.
LONGEST_NAME = 255


def get_gateway(name: str = "") -> PaymentGateway:
    """Return a new gateway by name, by default the gateway that PAYMENT_GATEWAY names.

    Raise ImproperlyConfigured for a name without a gateway.
    """
    return gateway_class(name)()


def knows_gateway(name: str) -> bool:
    """Tell whether this release has a gateway of this name. The empty name is PAYMENT_GATEWAY's."""
    if not name:
        return True
    try:
        gateway_class(name)
    except ImproperlyConfigured:
        return False
    return True


def reason_not_chargeable(amount: int, currency: str) -> str:
    """Return in words why the configured gateway cannot charge an amount; empty if it can.

    `amount` is in ISO 4217 minor units of `currency` (lower case). No network call is made.
    """
    return gateway_class().reason_not_chargeable(amount, currency)


def gateway_class(name: str = "") -> type[PaymentGateway]:
    """Return the class of a gateway, by default of the gateway that PAYMENT_GATEWAY names.

    Raise ImproperlyConfigured for a name without a gateway, with the reason in words.
    """
    name = name or settings.PAYMENT_GATEWAY
    if name in GATEWAYS:
        return GATEWAYS[name]
    if "." not in name or len(name) > LONGEST_NAME:
        raise ImproperlyConfigured(
            f"PAYMENT_GATEWAY is {name!r}; this version has: {', '.join(sorted(GATEWAYS))}, and "
            f"each PaymentGateway class by its dotted path of at most {LONGEST_NAME} characters."
        )
    return _complete(name, _imported(name))


def _imported(path: str) -> object:
    try:
        return import_string(path)
    except Exception as error:
        raise ImproperlyConfigured(
            f"PAYMENT_GATEWAY is {path!r}, which cannot be imported: {error}. Name a class of a "
            "module on the Python path."
        ) from error


def _complete(path: str, found: object) -> type[PaymentGateway]:
    """Return a class that is a whole gateway. Raise ImproperlyConfigured for any other object."""
    if not (isinstance(found, type) and issubclass(found, PaymentGateway)):
        raise ImproperlyConfigured(
            f"PAYMENT_GATEWAY is {path!r}, which is not a class derived from "
            f"{PaymentGateway.__module__}.PaymentGateway."
        )
    if names := [name for name, known in GATEWAYS.items() if known is found]:
        raise ImproperlyConfigured(
            f"PAYMENT_GATEWAY is {path!r}. Set it to {names[0]!r}, because payments store the "
            "name, and one gateway has one name."
        )
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise ImproperlyConfigured(
            f"PAYMENT_GATEWAY is {path!r}, which lacks these methods: {', '.join(missing)}."
        )
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise ImproperlyConfigured(
            f"PAYMENT_GATEWAY is {path!r}, which cannot be made without arguments: {error}."
        ) from error
    return found
