"""How many messages wait in the broker's queues. Every function raises while the broker is down."""

from collections.abc import Iterable
from typing import Any

from celery import current_app
from kombu import Queue

from sagas.definition.plan import Saga

__all__ = ["home_backlog", "lengths", "longest_length"]


def lengths(queues: Iterable[str]) -> dict[str, int]:
    """Return the number of messages in each of these queues."""
    pool: Any = current_app.pool
    with pool.acquire(block=True) as connection:
        channel = connection.default_channel
        declared: dict[str, Any] = {
            name: Queue(name, channel=channel).queue_declare() for name in queues
        }
    return {name: queue.message_count for name, queue in declared.items()}


def longest_length(queues: Iterable[str]) -> int:
    """Return the number of messages in the longest of these queues; 0 if there are no queues."""
    return max(lengths(queues).values(), default=0)


def home_backlog(home: str) -> int:
    """Return the number of messages in the longest queue that the sagas of a home go through.

    For a service that is no saga's home, it is 0.
    """
    plans = [saga.plan for saga in Saga.declared.values() if saga.plan.home == home]
    services = set[str]().union(*(plan.services() for plan in plans))
    return longest_length(services)
