"""The header Prefer (RFC 7240): how long a client would wait for its response."""

import re
from collections.abc import Iterator

from rest_framework.request import Request

__all__ = ["LONGEST_WAIT", "preferred_wait"]

# Seconds. Proxies commonly give up on a response after a minute.
LONGEST_WAIT = 30

# One preference: the text up to a comma outside of a quoted string. And a number, quoted or not.
PREFERENCE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^",])+')
SECONDS = re.compile(r'(?P<quote>"?)0*(?P<number>[0-9]{1,9})(?P=quote)')


def preferred_wait(request: Request) -> int | None:
    """Return the seconds that a client would wait, at most `LONGEST_WAIT`; None if not given.

    Malformed preferences are ignored, and of several with the same name the first counts (RFC
    7240, section 2).
    """
    preferences = _preferences(request.headers.get("Prefer", ""))
    value = next((value for name, value in preferences if name == "wait"), "")
    seconds = SECONDS.fullmatch(value)
    return min(int(seconds["number"]), LONGEST_WAIT) if seconds else None


def _preferences(header: str) -> Iterator[tuple[str, str]]:
    """Yield names, in lower case, and raw values. Parameters after a semicolon are dropped."""
    for preference in PREFERENCE.findall(header):
        name, _, value = preference.partition(";")[0].partition("=")
        yield name.strip(" \t").lower(), value.strip(" \t")
