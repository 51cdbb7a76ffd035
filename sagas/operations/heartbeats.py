"""Heartbeats: each worker writes to Redis every few seconds that it is alive, with its queues and
steps. Beat writes one after it has sent a task.

Celery's `inspect` would need remote control, and its events do not name queues. The heartbeat runs
in the event loop that receives the worker's messages, so a worker that hangs or has lost the broker
stops sending it. No decision depends on a heartbeat: if Redis loses one, the next replaces it. All
times are of Redis' clock, because the clocks of hosts differ.
"""

import logging
import os
import resource
import socket
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import msgspec
from celery import current_app
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from sagas.conf import settings
from sagas.definition import handlers

__all__ = [
    "DEAD_AFTER",
    "WorkerHeartbeat",
    "recent_heartbeats",
    "record_beat",
    "seconds_since_beat",
    "start_heartbeat",
]

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
BEAT_KEY = "saga:beat"

# Bytes of an unreadable heartbeat that are logged.
MAX_LOGGED = 200


class _Stored(msgspec.Struct, frozen=True):
    """A heartbeat as it is stored. `at` is in seconds since the epoch, by Redis' clock, and `clock`
    by the clock of the worker's host. Workers of earlier releases send no field after `at`.
    """

    queues: list[str]
    processes: int
    at: float
    steps: list[str] | None = None
    clock: float | None = None
    most_files: int | None = None
    reads_groups: bool = False


class WorkerHeartbeat(NamedTuple):
    """The last heartbeat of a worker: its queues, its number of processes, its age in seconds.

    `steps` are the names of the registered steps. `clock_ahead` is how many seconds the clock of
    the worker's host is ahead of Redis' clock. `most_files` is its limit of open files (-1: none).
    These three are None if the worker's release does not send them. `reads_groups`: its release can
    read a plan with a parallel group.
    """

    name: str
    queues: list[str]
    processes: int
    seconds: float
    steps: frozenset[str] | None = None
    clock_ahead: float | None = None
    most_files: int | None = None
    reads_groups: bool = False

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
        WorkerHeartbeat(
            name,
            one.queues,
            one.processes,
            max(0.0, now - one.at),
            None if one.steps is None else frozenset(one.steps),
            None if one.clock is None else one.clock - one.at,
            one.most_files,
            one.reads_groups,
        )
        for name, one in stored.items()
    ]

    expired = [worker.name for worker in workers if worker.seconds > REMOVE_AFTER]
    if expired:
        _redis().hdel(KEY, *expired)

    recent = [worker for worker in workers if worker.name not in expired]
    return sorted(recent, key=lambda worker: worker.seconds)


def record_beat() -> None:
    """Record that beat has sent a task, at most once in an interval. Call it in beat's process."""
    global _next_record  # noqa: PLW0603  one of each process
    if time.monotonic() < _next_record:
        return
    name = f"{socket.gethostname()}:{os.getpid()}"
    written = _try_write(lambda: _redis().hset(BEAT_KEY, name, str(_now())), of="beat's")
    _next_record = time.monotonic() + (INTERVAL if written else INTERVAL_AFTER_FAILURE)


_next_record = 0.0


def seconds_since_beat() -> float | None:
    """Return the seconds since a beat sent a task, None if there is no heartbeat of a beat.

    Raises RedisError.
    """
    now = _now()
    entries: Any = _redis().hgetall(BEAT_KEY)
    ages = {name: now - at for name, raw in entries.items() if (at := _seconds(raw)) is not None}
    if expired := [name for name, age in ages.items() if age > REMOVE_AFTER]:
        _redis().hdel(BEAT_KEY, *expired)
    return max(0.0, min(ages.values())) if ages else None


def _seconds(raw: bytes) -> float | None:
    try:
        return msgspec.json.decode(raw, type=float)
    except msgspec.MsgspecError:
        logger.warning(
            "Ignored an unreadable heartbeat of beat in the Redis key %s: %r",
            BEAT_KEY,
            raw[:MAX_LOGGED],
        )
        return None


def _write(name: str, queues: list[str], processes: int) -> None:
    at, clock = _now(), time.time()
    most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    heartbeat = _Stored(
        queues, processes, at, handlers.names(), clock, most_files, reads_groups=True
    )
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


def _try_write(write: Callable[[], object], *, of: str = "this worker's") -> bool:
    try:
        write()
    except RedisError as error:
        logger.warning(
            "Could not write %s heartbeat to Redis, so the console may show it as dead. "
            "The next attempt is in %d s. %r",
            of,
            INTERVAL_AFTER_FAILURE,
            error,
        )
        return False
    return True


def _now() -> float:
    seconds, microseconds = _redis().time()
    return float(seconds) + float(microseconds) / 1e6


@cache
def _redis() -> Redis:
    """Return this process's client. It tries each command once, with a short timeout.

    Raises ValueError if neither the engine nor the Celery app has an address.
    """
    url = settings.REDIS_URL or current_app.conf.broker_url
    if not url:
        raise ValueError("neither REDIS_URL nor CELERY_BROKER_URL is set")

    once = Retry(NoBackoff(), 0)
    return Redis.from_url(
        url,
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
        retry=once,
    )
