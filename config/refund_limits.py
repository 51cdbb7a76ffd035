"""Limits of refunds by currency: `CONSOLE_REFUND_LIMITS` and `RETURN_APPROVAL_LIMITS`."""

import re
from collections.abc import Sequence

from django.core.exceptions import ImproperlyConfigured

__all__ = ["refund_limits"]

ENTRY = re.compile(r"([a-z]{3}):([0-9]{1,16})", re.ASCII)


def refund_limits(
    entries: Sequence[str], *, setting: str = "CONSOLE_REFUND_LIMITS"
) -> dict[str, int]:
    """Return the limit of each currency, in its own minor units, from entries such as `eur:100000`.

    Raises ImproperlyConfigured for a malformed entry, or for a currency that has two.
    """
    limits: dict[str, int] = {}
    for entry in entries:
        found = ENTRY.fullmatch(entry.strip().lower())
        if not found:
            raise ImproperlyConfigured(
                f"{setting} has the entry “{entry}”. Write each as the currency's code,"
                " a colon, and its minor units without a sign, such as eur:100000,kwd:300000."
            )
        currency, limit = found.groups()
        if currency in limits:
            raise ImproperlyConfigured(
                f"{setting} names {currency} twice. Remove one of the entries."
            )
        limits[currency] = int(limit)
    return limits
