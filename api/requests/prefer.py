"""The header Prefer (RFC 7240): how long a client would wait for its response."""

from collections.abc import Iterator

from rest_framework.request import Request

__all__ = ["LONGEST_WAIT", "preferred_wait"]

# Seconds. Proxies commonly give up on a response after a minute.
LONGEST_WAIT = 30

# A longer number is no number of seconds.
MAX_DIGITS = 9


def preferred_wait(request: Request) -> int | None:
    """Return the seconds that a client would wait, at most `LONGEST_WAIT`; None if not given.

    Malformed preferences are ignored, and of several with the same name the first counts (RFC
    7240, section 2).
    """
    preferences = _preferences(request.headers.get("Prefer", ""))
    value = next((value for name, value in preferences if name == "wait"), "")
    seconds = _seconds(value)
    return None if seconds is None else min(seconds, LONGEST_WAIT)


def _preferences(header: str) -> Iterator[tuple[str, str]]:
    """Yield names, in lower case, and raw values. Parameters after a semicolon are dropped."""
    for preference in split_unquoted(header):
        name, _, value = preference.partition(";")[0].partition("=")
        yield name.strip(" \t").lower(), value.strip(" \t")


def split_unquoted(header: str) -> Iterator[str]:
    """Yield the parts of a list between commas. A comma in a quoted string separates nothing.

    Reads each character once: a regular expression for this took time in the square of the length.
    A quoted string without an end reaches to the end of the header.
    """
    start = 0
    quoted = escaped = False
    for position, character in enumerate(header):
        if escaped:
            escaped = False
        elif character == '"':
            quoted = not quoted
        elif character == "\\":
            escaped = quoted
        elif character == "," and not quoted:
            yield header[start:position]
            start = position + 1
    yield header[start:]


def _seconds(value: str) -> int | None:
    """Return a number, quoted or not; None for all other values."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if not (value.isascii() and value.isdigit()):
        return None
    digits = value.lstrip("0") or "0"
    return int(digits) if len(digits) <= MAX_DIGITS else None
