"""How the console's pages show money, times and payloads."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone

from console.failures.grouping import Failing
from console.order_page.order_detail import Posted
from console.order_page.provider import page_of
from orders.models import Order
from sagas.admin.formatting import age, length
from sagas.models import Inbox

__all__ = ["ago", "failure_key", "money", "of", "open_for", "pretty", "seconds", "took"]

register = template.Library()
register.filter("provider_page", page_of)

# ISO 4217 currencies whose minor unit is not a hundredth:
# https://www.iso.org/iso-4217-currency-codes.html
DIGITS = {
    **dict.fromkeys(
        ("bif", "clp", "djf", "gnf", "isk", "jpy", "kmf", "krw", "pyg", "rwf", "ugx", "uyi"), 0
    ),
    **dict.fromkeys(("vnd", "vuv", "xaf", "xof", "xpf"), 0),
    **dict.fromkeys(("bhd", "iqd", "jod", "kwd", "lyd", "omr", "tnd"), 3),
}


@register.filter
def money(amount: int, currency: str) -> str:
    """Show an amount of minor units in its currency: `12.50 EUR`."""
    digits = DIGITS.get(currency, 2)
    whole, fraction = divmod(abs(amount), 10**digits)
    sign = "−" if amount < 0 else ""
    shown = f"{whole:,}.{fraction:0{digits}}" if digits else f"{whole:,}"
    return f"{sign}{shown} {currency.upper()}"


@register.filter
def took(span: timedelta) -> str:
    """Show a length of time in the unit that fits it."""
    return length(span)


@register.filter
def ago(moment: datetime) -> str:
    """Say how long ago a moment was."""
    return age(moment)


@register.filter
def seconds(number: float) -> str:
    """Show so many seconds in the unit that fits them."""
    return length(timedelta(seconds=number))


@register.filter
def failure_key(posted: Posted) -> str:
    """Return the key of all that fail like this step; nothing where it is over."""
    row = posted.row
    if row.state not in {Inbox.State.STARTED, Inbox.State.WAITING}:
        return ""
    return Failing(row.step, row.saga, row.error, row.attempts, row.created_at, row.updated_at).key


@register.filter
def of(found: Mapping[str, Any], key: str) -> Any:
    """Look a key up; nothing where it is missing."""
    return found.get(key, "")


@register.filter
def open_for(order: Order) -> timedelta:
    """Return how long an order's saga took, or has taken until now."""
    return (order.ended_at or timezone.now()) - order.created_at


@register.filter
def pretty(data: Any, indented: bool = True) -> str:
    """Show plain data as JSON."""
    if data in ({}, None):
        return "" if not indented else "{}"
    return json.dumps(data, indent=2 if indented else None, ensure_ascii=False, sort_keys=True)
