"""What the engine asks of the broker itself: how long its queues are."""

from collections.abc import Iterable
from typing import Any

from celery import current_app
from kombu import Queue

__all__ = ["lengths", "waiting"]


def waiting(queues: Iterable[str]) -> int:
    """Return how many messages wait in the longest of these queues. Raises while the broker is down."""
    return max(lengths(queues).values(), default=0)


def lengths(queues: Iterable[str]) -> dict[str, int]:
    """Return how many messages wait in each of these queues. Raises while the broker is down."""
    with current_app.connection_for_read() as connection:
        channel = connection.default_channel
        declared: dict[str, Any] = {name: Queue(name, channel=channel).queue_declare() for name in queues}
    return {name: queue.message_count for name, queue in declared.items()}
