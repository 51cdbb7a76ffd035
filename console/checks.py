"""System check: the log must be kept for at least a year."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

__all__ = ["check_log_days"]

# The trigger of migration 0003_history refuses to delete younger entries.
LEAST_LOG_DAYS = 365


@register
def check_log_days(**kwargs: Any) -> list[CheckMessage]:
    """Report a CONSOLE_LOG_DAYS below the year that the database insists on."""
    if settings.CONSOLE_LOG_DAYS >= LEAST_LOG_DAYS:
        return []
    text = (
        f"CONSOLE_LOG_DAYS is {settings.CONSOLE_LOG_DAYS}, but the log of operators must be kept"
        " for at least a year."
    )
    return [Error(text, hint=f"Set it to {LEAST_LOG_DAYS} or more.", id="console.E001")]
