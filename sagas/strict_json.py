"""Strict JSON: only what each reader understands alike.

Repeated keys and lone surrogates are refused, because RFC 8259 leaves their meaning to each reader.
NaN is no JSON, and a number beyond a float would become infinite. PostgreSQL cannot store NUL. The
depth and the digits are checked before the text is decoded.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

__all__ = ["MAX_DEPTH", "decode"]

# The JSON of an ordinary request has few levels.
MAX_DEPTH = 32

# The length of the largest 64-bit integer with its sign.
MAX_DIGITS = 20


def decode(body: bytes) -> Any:
    """Return JSON as plain data. Raises ValueError, whose text is the reason without a period."""
    try:
        text = body.decode("utf-8")
        _check_depth(text)
        data = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_reject_constant,
            parse_float=_float,
            parse_int=_integer,
        )
        for string in _texts(data):
            _check_text(string)
    except ValueError as error:  # UTF-8, JSON, and the checks below
        raise ValueError(_describe(error)) from error
    return data


def _describe(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[0].lower()}{error.msg[1:]} (line {error.lineno}, column {error.colno})"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).rstrip(".")


# A bracket, or a string, which may contain brackets and may be unterminated.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


def _check_depth(text: str) -> None:
    """Reject too deeply nested JSON before it is parsed recursively."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in TOKEN.finditer(text):
        if token.group() in ("[", "{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        elif token.group() in ("]", "}"):
            depth -= 1


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is repeated")
    return members


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _texts(data: Any) -> Iterator[str]:
    """Yield all strings of some data, keys included.

    Without recursion, because nested generators would cost the depth squared.
    """
    waiting = [data]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case list() as items:
                waiting += items
            case dict() as members:
                waiting += [*members, *members.values()]


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("a string contains a NUL")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a string contains half a surrogate pair")
