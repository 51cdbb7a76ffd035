"""Checks ORDER_SAGA when a process starts, so that placing an order cannot fail on it."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from orders.saga import chosen_saga

__all__ = ["check_saga"]


@register
def check_saga(**kwargs: Any) -> list[CheckMessage]:
    """Report an unknown ORDER_SAGA."""
    try:
        chosen_saga()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="orders.E001")]
    return []
