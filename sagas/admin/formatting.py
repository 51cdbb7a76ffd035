"""Formats times for the pages of the admin."""

from datetime import datetime, timedelta

from django.utils import timezone

__all__ = ["age", "length"]


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
