"""A setting that would have the log forgotten too early is found when a process starts."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

__all__ = ["check_log_days"]

# The database refuses to delete what is younger: migration 0003_history.
LOG_DAYS_LEAST = 365


@register
def check_log_days(**kwargs: Any) -> list[CheckMessage]:
    """Report a CONSOLE_LOG_DAYS below what the database holds on to."""
    if settings.CONSOLE_LOG_DAYS >= LOG_DAYS_LEAST:
        return []
    text = f"CONSOLE_LOG_DAYS is {settings.CONSOLE_LOG_DAYS}: what operators did is kept for a year at least."
    return [Error(text, hint=f"Set it to {LOG_DAYS_LEAST} or more.", id="console.E001")]
