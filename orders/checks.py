"""Checks settings when a process starts, so that placing an order cannot fail on them."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from orders.payment_summaries import chosen_summaries
from orders.price_check import chosen_check
from orders.saga import chosen_saga

__all__ = ["check_payment_summaries", "check_price_check", "check_saga"]


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


@register
def check_payment_summaries(**kwargs: Any) -> list[CheckMessage]:
    """Report a PAYMENT_SUMMARIES that names no function."""
    try:
        chosen_summaries()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="orders.E003")]
    return []
