"""Checks settings when a process starts, so that placing an order cannot fail on them."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from orders.price_check import chosen_check
from orders.saga import chosen_saga

__all__ = ["check_price_check", "check_saga"]


@register
def check_saga(**kwargs: Any) -> list[CheckMessage]:
    """Report an unknown ORDER_SAGA."""
    try:
        chosen_saga()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="orders.E001")]
    return []


@register
def check_price_check(**kwargs: Any) -> list[CheckMessage]:
    """Report a PRICE_CHECK that names no function."""
    try:
        chosen_check()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="orders.E002")]
    return []
