"""Strict input: JSON that means one thing, and structs that take nothing they do not know.

RFC 8259 leaves to each reader what a repeated key or half a surrogate pair means, NaN is none of
its numbers, and PostgreSQL cannot store a NUL: all four are refused. So is what JSON itself tells
apart: a quantity of `true`, `"3"` or `3.0` is no integer. Size, depth and digits are bounded before
anything is made of them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any, NoReturn, TypeVar

import msgspec
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from api.problems.exceptions import FieldError, InvalidInput, Problem
from api.problems.problem_types import BODY_TOO_LARGE

__all__ = ["MAX_BODY", "MAX_DEPTH", "StrictJSONParser", "parse"]

# Bytes. A hundred lines fit in a tenth of it.
MAX_BODY = 256 * 1024

# An order is three deep.
MAX_DEPTH = 32

# As many as the largest integer of 64 bits has, and its sign.
MAX_DIGITS = 20

S = TypeVar("S", bound=msgspec.Struct)


class StrictJSONParser(BaseParser):
    """Read a JSON body of bounded size. Raises a `Problem` of status 400 or 413."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the body as plain data."""
        body = stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise Problem(BODY_TOO_LARGE, f"The body is larger than {MAX_BODY} bytes.")
        if len(body) < _promised(parser_context):
            raise _invalid("The body is shorter than its Content-Length.")
        return _decode(body)


def parse(request: Request, struct: type[S]) -> S:
    """Return the body of a request as a struct. Raises `InvalidInput`, which names the field.

    REST framework takes a request without a body for one with an empty object.
    """
    if request.stream is None:
        raise InvalidInput(FieldError("", "required", "Send a body in JSON."))
    try:
        return msgspec.convert(request.data, struct, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidInput(_field_error(str(error))) from error


def _promised(context: Mapping[str, Any] | None) -> int:
    """Return the Content-Length: a connection that broke may leave JSON that looks whole."""
    return int(context["request"].META.get("CONTENT_LENGTH") or 0) if context else 0


def _decode(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
        _check_depth(text)
        data = json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_number, parse_int=_integer
        )
        for string in _texts(data):
            _check_text(string)
    except ValueError as error:  # wrong UTF-8, wrong JSON, and what the functions below refuse
        raise _invalid(f"The body is not valid JSON: {_words(error)}.") from error
    return data


def _invalid(detail: str) -> InvalidInput:
    return InvalidInput(FieldError("", "invalid_json", detail))


def _words(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[0].lower()}{error.msg[1:]} (line {error.lineno}, column {error.colno})"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).rstrip(".")


# A string, which may hold any bracket and may lack its end, or a bracket.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


def _check_depth(text: str) -> None:
    """Refuse what is nested too deeply, before a parser goes down there."""
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is repeated")
    return members


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _texts(data: Any) -> Iterator[str]:
    """Yield all strings of some data, keys included. Without recursion, or deep data would cost
    its depth squared.
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
        raise ValueError("a string holds a NUL")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a string holds half a surrogate pair")


# msgspec says all this in words, with the path behind " - at `$…`".
FIELD_NAMED = re.compile(
    r"Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL
)


def _field_error(message: str) -> FieldError:
    """Return a validation error of msgspec's as the field, a code and words without backticks."""
    words, located, path = message.rpartition(" - at `")
    if not located:
        words, path = message, ""
    path = path.removeprefix("key in ").removesuffix("`").lstrip("$.")
    named = FIELD_NAMED.fullmatch(words)
    if named is None:
        return FieldError(path, "invalid", f"{words.replace('`', '')}.")
    field = f"{path}.{named['name']}".lstrip(".")
    missing = named["what"] == "missing required"
    return FieldError(
        field,
        "required" if missing else "unknown",
        "Required." if missing else "Not a known field.",
    )
