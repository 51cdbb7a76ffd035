"""A request and a reply, independent of the HTTP server."""

from enum import Enum, auto
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec

from tools.stripe_sandbox.errors import ApiError

__all__ = ["Ending", "Reply", "Request", "read_json", "to_json"]

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request. Header names are in lower case; `client` is the client's address."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    client: str

    @property
    def path(self) -> str:
        """The decoded path, without the query."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> str:
        """The query, still encoded."""
        return self.target.partition("?")[2]


class Ending(Enum):
    """How the server ends a request."""

    ANSWER = auto()
    HANG = auto()  # no answer until the client disconnects or the reply's seconds are over
    RESET = auto()  # the connection is reset


class Reply(msgspec.Struct, kw_only=True):
    """An answer, and how to end the request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    ending: Ending = Ending.ANSWER
    seconds: float = 0.0


def to_json(value: Any) -> bytes:
    """Encode a value as JSON."""
    return msgspec.json.encode(value)


def read_json(body: bytes, type: type[T]) -> T:
    """Decode a JSON body; raise ApiError if it does not fit `type`."""
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.DecodeError as error:
        raise ApiError(f"{error}.") from None
