"""Strict input: unambiguous JSON, and structs that reject unknown fields.

The parser rejects repeated keys and lone surrogates, because RFC 8259 leaves their meaning to each
reader. It rejects NaN, which is not JSON, and NUL, which PostgreSQL cannot store. Values are not
coerced: `true`, `"3"` and `3.0` are not integers. Size, depth and digits are checked before the
body is decoded.
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

# Bytes. An order of a hundred lines needs about a tenth.
MAX_BODY = 256 * 1024

# The JSON of an order has three levels.
MAX_DEPTH = 32

# The length of the largest 64-bit integer with its sign.
MAX_DIGITS = 20

S = TypeVar("S", bound=msgspec.Struct)


class StrictJSONParser(BaseParser):
    """Reads a JSON body of bounded size. Raises a `Problem` of status 400 or 413."""

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
        if len(body) < _content_length(parser_context):
            raise _invalid("The body is shorter than its Content-Length.")
        return _decode(body)


def parse(request: Request, struct: type[S]) -> S:
    """Return the body of a request as a struct. Raises `InvalidInput`, which names the field.

    The check of `stream` is needed because REST framework reads a missing body as an empty object.
    """
    if request.stream is None:
        raise InvalidInput(FieldError("", "required", "Send a JSON body."))
    try:
        return msgspec.convert(request.data, struct, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidInput(_field_error(str(error))) from error


def _content_length(context: Mapping[str, Any] | None) -> int:
    """Return the Content-Length: a broken connection may leave a truncated but valid body."""
    return int(context["request"].META.get("CONTENT_LENGTH") or 0) if context else 0


def _decode(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
        _check_depth(text)
        data = json.loads(
            text, object_pairs_hook=_object, parse_constant=_reject_constant, parse_int=_integer
        )
        for string in _texts(data):
            _check_text(string)
    except ValueError as error:  # UTF-8, JSON, and the checks below
        raise _invalid(f"The body is not valid JSON: {_describe(error)}.") from error
    return data


def _invalid(detail: str) -> InvalidInput:
    return InvalidInput(FieldError("", "invalid_json", detail))


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


# msgspec reports errors as text, with the path after " - at `$…`".
FIELD_NAMED = re.compile(
    r"Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL
)


def _field_error(message: str) -> FieldError:
    """Convert a validation error of msgspec to a field, a code and a text without backticks."""
    text, located, path = message.rpartition(" - at `")
    if not located:
        text, path = message, ""
    path = path.removeprefix("key in ").removesuffix("`").lstrip("$.")
    named = FIELD_NAMED.fullmatch(text)
    if named is None:
        return FieldError(path, "invalid", f"{text.replace('`', '')}.")
    field = f"{path}.{named['name']}".lstrip(".")
    missing = named["what"] == "missing required"
    return FieldError(
        field,
        "required" if missing else "unknown",
        "This field is required." if missing else "This field is unknown.",
    )
