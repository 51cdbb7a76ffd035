"""What the engine asks of the broker itself: how long its queues are."""

from collections.abc import Iterable
from typing import Any

from celery import current_app
from kombu import Queue

from sagas.definition.plan import Saga

__all__ = ["lengths", "waiting", "waiting_for"]


def waiting(queues: Iterable[str]) -> int:
    """Return how many messages wait in the longest of these queues. Raises while the broker is
    down.
    """
    return max(lengths(queues).values(), default=0)


def waiting_for(home: str) -> int:
    """Return how many messages wait in the longest queue that a home's sagas go through."""
    plans = [saga.plan for saga in Saga.declared.values() if saga.plan.home == home]
    return waiting(set[str]().union(*(plan.services() for plan in plans)))


def lengths(queues: Iterable[str]) -> dict[str, int]:
    """Return how many messages wait in each of these queues. Raises while the broker is down."""
    pool: Any = current_app.pool
    with pool.acquire(block=True) as connection:
        channel = connection.default_channel
        declared: dict[str, Any] = {
            name: Queue(name, channel=channel).queue_declare() for name in queues
        }
    return {name: queue.message_count for name, queue in declared.items()}
