"""The settings of the console. Each has a default."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

__all__ = ["DEFAULTS", "setting"]

# One person may refund CONSOLE_REFUND_LIMIT within 24 hours alone, in hundredths of a currency.
# CONSOLE_REFUND_LIMITS has the minor units of single currencies. The others are days.
DEFAULTS: Mapping[str, Any] = {
    "CONSOLE_REFUND_LIMIT": 100_000,
    "CONSOLE_REFUND_LIMITS": {},
    "CONSOLE_DRAFT_DAYS": 7,
    "CONSOLE_RUN_DAYS": 90,
    "CONSOLE_LOG_DAYS": 730,
}


def setting(name: str) -> Any:
    """Return a setting of the project, or its default."""
    return getattr(settings, name, DEFAULTS[name])
