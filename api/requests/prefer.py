"""What a client would rather have, and gets where it can be had: the header Prefer (RFC 7240)."""

import re
from collections.abc import Iterator

from rest_framework.request import Request

__all__ = ["LONGEST_WAIT", "preferred_wait"]

# Seconds. Proxies commonly give up on an answer after a minute.
LONGEST_WAIT = 30

# What stands between two commas, where those in a quoted string do not count; and a number, quoted
# or not.
PREFERENCE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^",])+')
SECONDS = re.compile(r'(?P<quote>"?)0*(?P<number>[0-9]{1,9})(?P=quote)')


def preferred_wait(request: Request) -> int | None:
    """Return how many seconds a client would wait for its answer, at most `LONGEST_WAIT`; None if
    it does not say.

    What is malformed is ignored, and so is every preference of the same name but the first: RFC
    7240, section 2.
    """
    preferences = _preferences(request.headers.get("Prefer", ""))
    seconds = SECONDS.fullmatch(next((value for name, value in preferences if name == "wait"), ""))
    return min(int(seconds["number"]), LONGEST_WAIT) if seconds else None


def _preferences(header: str) -> Iterator[tuple[str, str]]:
    """Yield names, in lower case, and values as they stand. What follows a semicolon is a
    parameter of neither ours.
    """
    for preference in PREFERENCE.findall(header):
        name, _, value = preference.partition(";")[0].partition("=")
        yield name.strip(" \t").lower(), value.strip(" \t")
