"""Connections to Redis that keep no huge reply in memory.

Any client of the broker can put an item of 512 MB into a queue, and a client that reads it needs
that memory at least once. These connections read such an item in small parts, drop it, and return
an empty text instead. So the connection stays in step with the server, and the item is gone.
"""

import logging
from functools import cache
from typing import Any

from redis._parsers.base import _RESPBase
from redis._parsers.resp3 import _RESP3Parser
from redis._parsers.socket import SERVER_CLOSED_CONNECTION_ERROR, SYM_CRLF, SocketBuffer
from redis.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sagas.definition.sizes import MOST_BYTES_IN_BROKER

__all__ = ["BoundedConnection", "BoundedSSLConnection"]

logger = logging.getLogger(__name__)

# Bytes that are read at once while a reply is dropped.
CHUNK = 65_536

# The log shows this many bytes of a dropped item.
MOST_BYTES_SHOWN = 100


class _BoundedBuffer(SocketBuffer):
    """A buffer that drops each value of a reply that is larger than any message of ours."""

    def read(self, length: int, *args: Any, **kwargs: Any) -> bytes:
        if length <= MOST_BYTES_IN_BROKER:
            return bytes(super().read(length, *args, **kwargs))

        beginning = self._drop(length + len(SYM_CRLF))
        logger.critical(
            "Dropped an item of %d bytes from the broker, because no message of ours is larger than"
            " %d bytes. It was forged. It begins with %r.",
            length,
            MOST_BYTES_IN_BROKER,
            beginning,
        )
        return b""

    def _drop(self, length: int) -> bytes:
        """Read some bytes and forget all but the first."""
        data = self._buffer.read(min(length, self.unread_bytes()))
        missing = length - len(data)
        beginning = data[:MOST_BYTES_SHOWN]
        while missing:
            try:
                data = self._sock.recv(min(CHUNK, missing))
            except TimeoutError as error:
                raise RedisTimeoutError("Timeout reading from socket") from error
            if not data:
                raise RedisConnectionError(SERVER_CLOSED_CONNECTION_ERROR)
            missing -= len(data)
            beginning = beginning or data[:MOST_BYTES_SHOWN]
        return bytes(beginning)


@cache
def _bounded(parser: Any) -> Any:
    """Return a parser that reads through a bounded buffer.

    redis-py's parser in C has no such buffer, so its parser in Python takes its place.
    """
    base: Any = parser if issubclass(parser, _RESPBase) else _RESP3Parser

    class Bounded(base):
        def on_connect(self, connection: Any) -> None:
            super().on_connect(connection)
            self._buffer = _BoundedBuffer(
                self._sock, self.socket_read_size, connection.socket_timeout
            )

    return Bounded


class BoundedConnection(Connection):
    """A connection in plaintext."""

    def set_parser(self, parser_class: type[Any]) -> None:
        super().set_parser(_bounded(parser_class))  # type: ignore[arg-type]  # a class is hashable


class BoundedSSLConnection(SSLConnection):
    """A connection with TLS."""

    def set_parser(self, parser_class: type[Any]) -> None:
        super().set_parser(_bounded(parser_class))  # type: ignore[arg-type]  # a class is hashable
