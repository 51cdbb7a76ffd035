"""Heartbeats: each worker writes to Redis every few seconds that it is alive, and its queues.

Celery's `inspect` would need remote control, and its events do not name queues. The heartbeat runs
in the event loop that receives the worker's messages, so a worker that hangs or has lost the broker
stops sending it. No decision depends on a heartbeat: if Redis loses one, the next replaces it. All
times are of Redis' clock, because the clocks of hosts differ.
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

# Seconds between two heartbeats. After a failed heartbeat the pause is longer, because each attempt
# blocks the worker's loop until Redis times out.
INTERVAL = 5.0
INTERVAL_AFTER_FAILURE = 15.0

# Seconds without a heartbeat after which a worker counts as dead, and after which it is removed.
DEAD_AFTER = 30.0
REMOVE_AFTER = 24 * 3600.0

# Seconds.
REDIS_TIMEOUT = 0.5

KEY = "saga:workers"

# Bytes of an unreadable heartbeat that are logged.
MAX_LOGGED = 200


class _Stored(msgspec.Struct, frozen=True):
    """A heartbeat as it is stored. `at` is in seconds since the epoch, by Redis' clock."""

    queues: list[str]
    processes: int
    at: float


class WorkerHeartbeat(NamedTuple):
    """The last heartbeat of a worker: its queues, its number of processes, its age in seconds."""

    name: str
    queues: list[str]
    processes: int
    seconds: float

    @property
    def alive(self) -> bool:
        return self.seconds <= DEAD_AFTER


def start_heartbeat(consumer: Any) -> None:
    """Start the heartbeat of a worker. Call it in the main process, once the worker is ready."""
    queues = sorted(consumer.app.amqp.queues.consume_from)
    processes = int(consumer.pool.num_processes)

    def beat() -> None:
        written = _try_write(lambda: _write(consumer.hostname, queues, processes))
        consumer.timer.call_after(INTERVAL if written else INTERVAL_AFTER_FAILURE, beat)

    beat()


def recent_heartbeats() -> list[WorkerHeartbeat]:
    """Return the workers with a heartbeat within a day, the latest first. Raises RedisError."""
    now, stored = _now(), _read()
    workers = [
        WorkerHeartbeat(name, one.queues, one.processes, max(0.0, now - one.at))
        for name, one in stored.items()
    ]

    expired = [worker.name for worker in workers if worker.seconds > REMOVE_AFTER]
    if expired:
        _redis().hdel(KEY, *expired)

    recent = [worker for worker in workers if worker.name not in expired]
    return sorted(recent, key=lambda worker: worker.seconds)


def _write(name: str, queues: list[str], processes: int) -> None:
    heartbeat = _Stored(queues, processes, _now())
    _redis().hset(KEY, name, msgspec.json.encode(heartbeat))


def _read() -> dict[str, _Stored]:
    """Return the stored heartbeats by worker.

    Unreadable ones are left out, because any client of Redis can write to the key.
    """
    heartbeats: dict[str, _Stored] = {}
    entries: Any = _redis().hgetall(KEY)
    for name, raw in entries.items():
        worker = name.decode(errors="replace")
        try:
            heartbeats[worker] = msgspec.json.decode(raw, type=_Stored)
        except msgspec.MsgspecError:
            logger.warning(
                "Ignored an unreadable heartbeat of worker %r in the Redis key %s: %r",
                worker,
                KEY,
                raw[:MAX_LOGGED],
            )
    return heartbeats


def _try_write(write: Callable[[], None]) -> bool:
    try:
        write()
    except RedisError as error:
        logger.warning(
            "Could not write this worker's heartbeat to Redis, so the console may show it as dead. "
            "The next attempt is in %d s. %r",
            INTERVAL_AFTER_FAILURE,
            error,
        )
        return False
    return True


def _now() -> float:
    seconds, _ = _redis().time()
    return float(seconds)


@cache
def _redis() -> Redis:
    """Return this process's client. It tries each command once, with a short timeout."""
    once = Retry(NoBackoff(), 0)
    return Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
        retry=once,
    )
