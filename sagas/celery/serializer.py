"""A faster JSON serializer for kombu: msgspec encodes and decodes messages in C.

The content type stays `application/json`. Kombu's own serializer handles the types that msgspec
cannot encode, and the text in which kombu marked such types.
"""

from typing import Any

import msgspec
from kombu.serialization import register
from kombu.utils import json

__all__ = ["decode", "encode", "lasting_text", "use_fast_json"]

# Kombu marks types that JSON does not have with this key.
MARK = "__type__"

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def use_fast_json() -> None:
    """Replace kombu's JSON serializer in this process."""
    register("json", encode, decode, content_type="application/json", content_encoding="utf-8")


def encode(data: Any) -> str:
    """Return data as JSON text."""
    try:
        return _encoder.encode(data).decode()
    except TypeError:
        return str(json.dumps(data))


def decode(text: str | bytes) -> Any:
    """Return the data of a JSON text. Raises the errors of kombu's serializer for other text."""
    is_marked = MARK in text if isinstance(text, str) else MARK.encode() in text
    if is_marked:
        return json.loads(text)
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError:
        return json.loads(text)


def lasting_text(data: Any) -> str:
    """Return a JSON text that stays the same when data is encoded, decoded, and given here again.

    It is the text of `encode`, unless kombu's serializer must encode the data. That serializer
    turns some objects into strings for good, so they are strings here from the beginning.
    """
    try:
        return _encoder.encode(data).decode()
    except TypeError:
        return encode(json.loads(json.dumps(data)))
