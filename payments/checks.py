"""A wrong gateway setting is found when a process starts, not when a customer pays."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from payments.gateways import get_gateway

__all__ = ["check_gateway"]


@register
def check_gateway(**kwargs: Any) -> list[CheckMessage]:
    """Report a PAYMENT_GATEWAY that cannot be used."""
    try:
        get_gateway()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="payments.E001")]
    return []
