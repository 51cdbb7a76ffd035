"""Which workers are alive. Each tells Redis every few seconds which queues it takes messages from.

Not Celery's `inspect`, which takes remote control, nor its events, which do not name queues. It is
told from the loop in which the worker takes its messages, so a worker that hangs, or has lost the
broker, falls silent. Nobody decides by it: what Redis forgets is told again soon. The clock is
Redis' own, for those of hosts differ.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

__all__ = ["DEAD_AFTER", "WorkerHeartbeat", "recent_heartbeats", "start_heartbeat"]

logger = logging.getLogger(__name__)

# Seconds between two tellings; the pause where Redis is away, which its timeout would have the loop
# wait for; the silence after which a worker no longer counts as alive; and how long it is
# remembered.
EVERY, PAUSE, DEAD_AFTER, REMEMBERED = 5.0, 15.0, 30.0, 24 * 3600.0
TIMEOUT = 0.5

KEY = "saga:workers"


class _Told(msgspec.Struct, frozen=True):
    queues: list[str]
    processes: int
    at: float


class WorkerHeartbeat(NamedTuple):
    """A worker as it was last heard: its queues, how many tasks it runs at once, and seconds
    since.
    """

    name: str
    queues: list[str]
    processes: int
    seconds: float

    @property
    def alive(self) -> bool:
        """Tell whether it was heard lately."""
        return self.seconds <= DEAD_AFTER


def start_heartbeat(consumer: Any) -> None:
    """Have a worker tell from now on that it is alive. Called in its main process, once it is
    ready.
    """
    queues, processes = (
        sorted(consumer.app.amqp.queues.consume_from),
        int(consumer.pool.num_processes),
    )

    def tell() -> None:
        told = _attempt(lambda: _tell(consumer.hostname, queues, processes))
        consumer.timer.call_after(EVERY if told else PAUSE, tell)

    tell()


def recent_heartbeats() -> list[WorkerHeartbeat]:
    """Return the workers that were heard within a day, the latest first. Raises RedisError where
    Redis is away.
    """
    now, told = _now(), _told()
    found = [
        WorkerHeartbeat(name, one.queues, one.processes, max(0.0, now - one.at))
        for name, one in told.items()
    ]
    if gone := [worker.name for worker in found if worker.seconds > REMEMBERED]:
        _redis().hdel(KEY, *gone)
    return sorted(
        (worker for worker in found if worker.name not in gone), key=lambda worker: worker.seconds
    )


def _tell(name: str, queues: list[str], processes: int) -> None:
    _redis().hset(KEY, name, msgspec.json.encode(_Told(queues, processes, _now())))


def _told() -> dict[str, _Told]:
    """Return what was told; what nobody can read is left out: whoever can write to Redis can
    write anything.
    """
    found: dict[str, _Told] = {}
    entries: Any = _redis().hgetall(KEY)
    for name, said in entries.items():
        try:
            found[name.decode(errors="replace")] = msgspec.json.decode(said, type=_Told)
        except msgspec.MsgspecError:
            logger.warning("What a worker told of itself cannot be read: %r", said[:200])
    return found


def _attempt(telling: Callable[[], None]) -> bool:
    try:
        telling()
    except RedisError as error:
        logger.warning("Redis does not take that this worker is alive: %r", error)
        return False
    return True


def _now() -> float:
    seconds, _ = _redis().time()
    return float(seconds)


@cache
def _redis() -> Redis:
    """Return this process's client: one try, and no long one."""
    once = Retry(NoBackoff(), 0)
    return Redis.from_url(
        settings.REDIS_URL, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=once
    )
