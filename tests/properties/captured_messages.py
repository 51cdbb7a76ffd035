"""Take messages from the broker as a worker does, over one connection that stays open."""

from collections.abc import Iterator
from queue import Empty
from typing import Any, NamedTuple

from celery import current_app

__all__ = ["CapturedMessages", "Delivery"]


class Delivery(NamedTuple):
    """A task message as a worker receives it."""

    task: str
    args: tuple[Any, ...]


class CapturedMessages:
    """The messages in the queues of some services."""

    def __init__(self, *queues: str) -> None:
        self.connection = current_app.connection_for_read()
        self.queues = [self.connection.SimpleQueue(queue, no_ack=True) for queue in queues]

    def take(self) -> Iterator[Delivery]:
        """Take out all messages, queue by queue, oldest first."""
        for queue in self.queues:
            try:
                while True:
                    message = queue.get(block=False)
                    yield Delivery(message.headers["task"], tuple(message.payload[0]))
            except Empty:
                continue

    def close(self) -> None:
        """Close the connection."""
        self.connection.release()
