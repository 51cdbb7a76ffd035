"""How pages for people word times."""

from datetime import datetime, timedelta

from django.utils import timezone

__all__ = ["age", "length"]


def length(span: timedelta) -> str:
    """Show a length of time in the unit that fits it."""
    seconds = span.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def age(moment: datetime | None) -> str:
    """Say how long ago a moment was, or how far ahead it lies."""
    if moment is None:
        return "–"
    now = timezone.now()
    return f"in {length(moment - now)}" if moment > now else f"{length(now - moment)} ago"
