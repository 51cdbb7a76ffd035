"""Strict input: unambiguous JSON, and structs that reject unknown fields.

`sagas.strict_json` lists the refused texts. Values are not coerced: `true`, `"3"` and `3.0` are not
integers. The size is checked before the body is decoded.
"""

import re
from collections.abc import Mapping
from typing import IO, Any, TypeVar

import msgspec
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from api.problems.exceptions import FieldError, InvalidInput, Problem
from api.problems.problem_types import BODY_TOO_LARGE
from sagas.strict_json import decode

__all__ = ["MAX_BODY", "StrictJSONParser", "convert", "in_words", "parse"]

# Bytes. An order of a hundred lines needs about a tenth.
MAX_BODY = 256 * 1024

UNKNOWN = "This field is unknown."

S = TypeVar("S", bound=msgspec.Struct)

# The sentence for a client whose text does not match a pattern, by the pattern.
_in_words: dict[str, str] = {}


def in_words(pattern: str, sentence: str) -> str:
    """Return a pattern for a field of a struct. Its error is the sentence, and not the pattern."""
    _in_words[pattern] = sentence
    return pattern


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
        length = _content_length(parser_context)
        if length > MAX_BODY:
            raise Problem(BODY_TOO_LARGE, f"The body is larger than {MAX_BODY} bytes.")
        body = stream.read(length)
        if len(body) < length:
            raise _invalid("The body is shorter than its Content-Length.")
        try:
            return decode(body)
        except ValueError as error:
            raise _invalid(f"The body is not valid JSON: {error}.") from error


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


def convert(data: Mapping[str, Any], struct: type[S], *, under: str) -> S:
    """Return a part of a body as a struct. Raises `InvalidInput`, which names the field.

    `under` is the path of the part. An unknown field is refused, also if the struct allows it.
    """
    known = {field.encode_name for field in msgspec.structs.fields(struct)}
    for name in data:
        if name not in known:
            raise InvalidInput(FieldError(f"{under}.{name}", "unknown", UNKNOWN))
    try:
        return msgspec.convert(data, struct, strict=True)
    except msgspec.ValidationError as error:
        found = _field_error(str(error))
        field = f"{under}.{found.field}".rstrip(".")
        raise InvalidInput(FieldError(field, found.code, found.detail)) from error


def _content_length(context: Mapping[str, Any] | None) -> int:
    """Return the Content-Length: a broken connection may leave a truncated but valid body."""
    return int(context["request"].META.get("CONTENT_LENGTH") or 0) if context else 0


def _invalid(detail: str) -> InvalidInput:
    return InvalidInput(FieldError("", "invalid_json", detail))


# msgspec reports errors as text, with the path after " - at `$…`".
FIELD_NAMED = re.compile(
    r"Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL
)


PATTERN_NAMED = re.compile(r"Expected `str` matching regex (?P<pattern>.*)", re.DOTALL)


def _described(text: str) -> str:
    """Return an error of msgspec as a sentence, without backticks."""
    unmatched = PATTERN_NAMED.fullmatch(text)
    for pattern, sentence in _in_words.items() if unmatched else ():
        if unmatched and unmatched["pattern"] in {repr(pattern), f"'{pattern}'"}:
            return sentence
    return f"{text.replace('`', '')}."


def _field_error(message: str) -> FieldError:
    """Convert a validation error of msgspec to a field, a code and a text without backticks."""
    text, located, path = message.rpartition(" - at `")
    if not located:
        text, path = message, ""
    path = path.removeprefix("key in ").removesuffix("`").lstrip("$.")
    named = FIELD_NAMED.fullmatch(text)
    if named is None:
        return FieldError(path, "invalid", _described(text))
    field = f"{path}.{named['name']}".lstrip(".")
    missing = named["what"] == "missing required"
    return FieldError(
        field,
        "required" if missing else "unknown",
        "This field is required." if missing else UNKNOWN,
    )
