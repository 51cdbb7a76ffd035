"""A wrong ORDER_SAGA is found when a process starts, not when an order is placed."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from orders.saga import chosen_saga

__all__ = ["check_saga"]


@register
def check_saga(**kwargs: Any) -> list[CheckMessage]:
    """Report an ORDER_SAGA that names no saga."""
    try:
        chosen_saga()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="orders.E001")]
    return []
