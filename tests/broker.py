"""Read and empty the broker in tests."""

from queue import Empty
from typing import Any, NamedTuple

from celery import current_app

__all__ = ["Sent", "empty", "take"]


class Sent(NamedTuple):
    """A task message from the broker."""

    task: str
    args: list[Any]
    callbacks: list[str]
    error_callbacks: list[str]
    chained: list[str]
    flushed: list[str]  # the services of the flushes that are chained


def take(queue: str) -> list[Sent]:
    """Take every message out of a queue, oldest first."""
    found: list[Sent] = []
    with current_app.connection_for_read() as connection, connection.SimpleQueue(queue) as waiting:
        while True:
            try:
                message = waiting.get(block=False)
            except Empty:
                return found
            message.ack()
            found.append(_sent(message))


def empty() -> None:
    """Empty the queues, and drop the unacknowledged messages of killed workers."""
    with current_app.connection_for_write() as connection:
        client: Any = connection.default_channel.client  # type: ignore[attr-defined]
        client.flushdb()


def _sent(message: Any) -> Sent:
    args, _, embedded = message.payload
    chained = list(reversed(embedded["chain"] or ()))
    return Sent(
        task=message.headers["task"],
        args=args,
        callbacks=[callback["task"] for callback in embedded["callbacks"] or ()],
        error_callbacks=[callback["task"] for callback in embedded["errbacks"] or ()],
        chained=[link["task"] for link in chained],
        flushed=[link["args"][0] for link in chained if link["task"] == "sagas.flush"],
    )
