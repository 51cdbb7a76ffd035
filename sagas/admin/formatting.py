"""Formats times for the pages of the admin."""

import re
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from sagas.conf import settings

__all__ = ["age", "length", "without_private", "without_private_text"]

HIDDEN = "hidden"


def length(span: timedelta) -> str:
    """Format a duration in the largest fitting unit: "3.2 min"."""
    seconds = span.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def age(moment: datetime | None) -> str:
    """Format a time relative to now: "3.2 min ago" or "in 5.0 s"."""
    if moment is None:
        return "–"
    now = timezone.now()
    return f"in {length(moment - now)}" if moment > now else f"{length(now - moment)} ago"


def without_private(data: Any) -> Any:
    """Return JSON data with the fields of SAGA_PRIVATE_FIELDS hidden, at any depth."""
    private = settings.PRIVATE_FIELDS
    match data:
        case dict():
            return {
                name: HIDDEN if name in private and value else without_private(value)
                for name, value in data.items()
            }
        case list() | tuple():
            return [without_private(item) for item in data]
    return data


def without_private_text(text: str) -> str:
    """Return text, such as the arguments of a task, with the same fields hidden."""
    for name in settings.PRIVATE_FIELDS:
        pattern = rf"""(\\*['"]{re.escape(name)}\\*['"]\s*:\s*\\*)(['"])(?:(?!\2).)*\2"""
        text = re.sub(pattern, rf"\1\2{HIDDEN}\2", text, flags=re.DOTALL)
    return text
