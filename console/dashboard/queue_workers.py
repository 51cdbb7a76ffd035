"""Whether there is somebody to do the work: the workers of each queue, as they were last heard."""

from collections.abc import Iterable
from threading import Lock
from time import monotonic
from typing import NamedTuple

from redis.exceptions import RedisError

from sagas.operations import heartbeats
from sagas.operations.heartbeats import WorkerHeartbeat

__all__ = ["Crew", "crews"]

# Seconds for which an answer is good enough, and so is that there was none: no page waits for a
# dead Redis each time.
KEPT = 3.0


class Crew(NamedTuple):
    """The workers of a queue: those alive, how many tasks they run at once, seconds since any of
    all was heard.
    """

    queue: str
    alive: list[str]
    processes: int
    seconds: float | None


class _Kept:
    """What Redis said last."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.until = 0.0
        self.answer: list[WorkerHeartbeat] | RedisError = []

    def heard(self) -> list[WorkerHeartbeat]:
        """Return the workers; raise the error there was, unless it was long enough ago."""
        with self.lock:
            if monotonic() >= self.until:
                self.answer, self.until = _asked(), monotonic() + KEPT
        if isinstance(self.answer, RedisError):
            raise self.answer
        return self.answer


_kept = _Kept()


def crews(queues: Iterable[str]) -> list[Crew]:
    """Return the workers of each of these queues. Raises RedisError where Redis is away."""
    found = _kept.heard()
    return [
        _crew(queue, [worker for worker in found if queue in worker.queues]) for queue in queues
    ]


def _asked() -> list[WorkerHeartbeat] | RedisError:
    try:
        return heartbeats.recent_heartbeats()
    except RedisError as error:
        return error


def _crew(queue: str, latest_first: list[WorkerHeartbeat]) -> Crew:
    alive = [worker for worker in latest_first if worker.alive]
    return Crew(
        queue=queue,
        alive=sorted(worker.name for worker in alive),
        processes=sum(worker.processes for worker in alive),
        seconds=latest_first[0].seconds if latest_first else None,
    )
