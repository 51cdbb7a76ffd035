"""The workers of each queue, from their heartbeats in Redis."""

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from redis.exceptions import RedisError

from sagas.operations import heartbeats
from sagas.operations.heartbeats import WorkerHeartbeat

__all__ = ["QueueWorkers", "workers_by_queue"]

# Seconds for which heartbeats are cached, and so is an error: else each page would wait for a Redis
# that is down.
CACHED_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class QueueWorkers:
    """The workers of a queue. `processes` is the number of tasks that they run at once.

    `seconds` is the age of the newest heartbeat of any worker, also of a dead one.
    """

    queue: str
    alive: list[str]
    processes: int
    seconds: float | None


class _HeartbeatCache:
    def __init__(self) -> None:
        self.lock = Lock()
        self.expires = 0.0
        self.answer: list[WorkerHeartbeat] | RedisError = []

    def read(self) -> list[WorkerHeartbeat]:
        """Return the heartbeats. Raises the RedisError that is cached, or new."""
        with self.lock:
            if monotonic() >= self.expires:
                self.answer = _read_heartbeats()
                self.expires = monotonic() + CACHED_SECONDS
        if isinstance(self.answer, RedisError):
            raise self.answer
        return self.answer


_cache = _HeartbeatCache()


def workers_by_queue(queues: Iterable[str]) -> list[QueueWorkers]:
    """Return the workers of each queue. Raises RedisError where Redis does not answer."""
    found = _cache.read()
    return [
        _workers_of(queue, [worker for worker in found if queue in worker.queues])
        for queue in queues
    ]


def _read_heartbeats() -> list[WorkerHeartbeat] | RedisError:
    try:
        return heartbeats.recent_heartbeats()
    except RedisError as error:
        return error


def _workers_of(queue: str, newest_first: list[WorkerHeartbeat]) -> QueueWorkers:
    alive = [worker for worker in newest_first if worker.alive]
    return QueueWorkers(
        queue=queue,
        alive=sorted(worker.name for worker in alive),
        processes=sum(worker.processes for worker in alive),
        seconds=newest_first[0].seconds if newest_first else None,
    )
