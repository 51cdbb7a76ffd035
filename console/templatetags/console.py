"""Template filters for money, times and payloads."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone

from console.failures.grouping import FailingStep
from console.order_page.event_words import event_words
from console.order_page.order_detail import ServiceRow
from console.order_page.provider import provider_page
from orders.models import Order, TimelineEvent
from payments.gateways.currencies import with_currency
from sagas.admin.formatting import age, length
from sagas.models import Inbox

__all__ = ["ago", "failure_key", "of", "open_for", "pretty", "seconds", "took", "words"]

register = template.Library()
register.filter("provider_page", provider_page)
register.filter("money", with_currency)


@register.filter
def took(span: timedelta) -> str:
    """Format a length of time in a fitting unit."""
    return length(span)


@register.filter
def ago(moment: datetime) -> str:
    """Format the age of a moment."""
    return age(moment)


@register.filter
def seconds(number: float) -> str:
    """Format a number of seconds in a fitting unit."""
    return length(timedelta(seconds=number))


@register.filter
def failure_key(message: ServiceRow) -> str:
    """Return the key of a step's failure; empty where the step is not open."""
    row = message.row
    if row.state not in {Inbox.State.STARTED, Inbox.State.WAITING}:
        return ""
    return FailingStep(
        row.step, row.saga, row.error, row.attempts, row.created_at, row.updated_at
    ).key


@register.filter
def words(event: TimelineEvent | ServiceRow) -> str:
    """Return an event of the timeline, or a sent message, in words; empty if its name will do."""
    if isinstance(event, ServiceRow):
        return event_words(event.row.type, event.row.data)
    return event_words(event.type, event.detail)


@register.filter
def of(found: Mapping[str, Any], key: str) -> Any:
    """Look up a key; empty where it is missing."""
    return found.get(key, "")


@register.filter
def open_for(order: Order) -> timedelta:
    """Return how long an order's saga took, or has taken so far."""
    return (order.ended_at or timezone.now()) - order.created_at


@register.filter
def pretty(data: Any, indented: bool = True) -> str:
    """Format plain data as JSON."""
    if data in ({}, None):
        return "" if not indented else "{}"
    return json.dumps(data, indent=2 if indented else None, ensure_ascii=False, sort_keys=True)
