"""Template filters for money, times and payloads."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django_celery_results.models import TaskResult

from console.failures.grouping import StepFailure
from console.failures.tracebacks import count_of
from console.order_page.event_words import event_words
from console.order_page.saga_detail import ServiceRow
from console.saga_pages import link_of_fact
from sagas.admin.formatting import age, length, without_private
from sagas.currencies import with_currency
from sagas.kinds import Fact, kind_of
from sagas.models import Inbox, TimelineEvent, TrackedSaga

__all__ = [
    "ago",
    "facts_of",
    "failed_attempts",
    "failure_key",
    "failure_of",
    "of",
    "open_for",
    "pretty",
    "seconds",
    "status_of",
    "took",
    "words",
]

register = template.Library()
register.filter("money", with_currency)
register.filter("shown_to", link_of_fact)


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
def failed_attempts(task: TaskResult) -> str:
    """Return in words how many attempts have failed like a failed task."""
    count = count_of(task)
    return f"{count} failed attempt{'' if count == 1 else 's'}"


@register.filter
def failure_key(message: ServiceRow) -> str:
    """Return the key of a step's failure; empty where the step is not open."""
    row = message.row
    if row.state not in {Inbox.State.STARTED, Inbox.State.WAITING}:
        return ""
    return StepFailure(
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
def open_for(saga: TrackedSaga) -> timedelta:
    """Return how long a saga took, or has taken so far."""
    span: timedelta = (saga.ended_at or timezone.now()) - saga.created_at
    return span


@register.filter
def status_of(saga: TrackedSaga) -> str:
    """Return the status of a saga, as its domain says it."""
    return kind_of(type(saga)).status(saga)


@register.filter
def facts_of(saga: TrackedSaga) -> Sequence[Fact]:
    """Return what only the domain knows of a saga."""
    return kind_of(type(saga)).facts(saga)


@register.filter
def failure_of(saga: TrackedSaga) -> str:
    """Return why a saga was refused or cancelled; empty if it was not."""
    return kind_of(type(saga)).failure(saga)


@register.filter
def pretty(data: Any, indented: bool = True) -> str:
    """Format plain data as JSON."""
    if data in ({}, None):
        return "" if not indented else "{}"
    shown = without_private(data)
    return json.dumps(shown, indent=2 if indented else None, ensure_ascii=False, sort_keys=True)
