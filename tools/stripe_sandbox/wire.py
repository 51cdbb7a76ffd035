"""A request and a reply, apart from the server that carries them."""

from enum import Enum, auto
from typing import Any
from urllib.parse import unquote

import msgspec

__all__ = ["Ending", "Reply", "Request", "to_json"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came in. Header names are in lower case; `client` is the address it came
    from.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    client: str

    @property
    def path(self) -> str:
        """The path, without what follows a question mark."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> str:
        """What follows the question mark, still encoded."""
        return self.target.partition("?")[2]


class Ending(Enum):
    """What becomes of a reply."""

    ANSWER = auto()
    HANG = auto()  # nothing is said until the client goes, or the reply's seconds are over
    RESET = auto()  # the connection is broken


class Reply(msgspec.Struct, kw_only=True):
    """What is to be answered, if it is."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    ending: Ending = Ending.ANSWER
    seconds: float = 0.0


def to_json(value: Any) -> bytes:
    """Return a value as JSON."""
    return msgspec.json.encode(value)
