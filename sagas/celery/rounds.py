"""Periodic tasks of which one at a time waits in its queue.

Beat sends a round of each task every second or so. A queue that workers read too slowly, or not at
all, would fill with rounds, and the steps of sagas would wait behind them. So beat notes in the
broker that a round waits, and the worker that begins it removes the note. While the note is there,
beat sends no further round of this task.

A message may be lost with its worker, so a note counts for `LONGEST_WAIT` seconds and no longer.
Nothing else depends on it: a round without a note runs, and a note without a round ends by itself.
"""

import logging
import time
from typing import Any

from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

__all__ = ["EXPIRES_AFTER", "LONGEST_WAIT", "begin", "entry", "note", "round_of"]

logger = logging.getLogger(__name__)

# Seconds until a periodic task expires. Celery compares it with the clock of the worker's host,
# which may be an hour ahead of beat's; with a shorter time that worker would discard every flush.
# With a longer time, an outage would leave too many tasks in the queues.
EXPIRES_AFTER = 2 * 3600

# Seconds after which beat sends a round although the one before seems to wait still.
LONGEST_WAIT = 5.0

# The header of a message with the name of its round, and the beginning of the note's key.
HEADER = "saga_round"
KEY = "sagas.round."

# The monotonic time of this process's last note of each round, or of its first attempt. A stranger
# who writes to the broker may leave a note that never ends, so this process trusts its own clock.
_noted_at: dict[str, float] = {}


def entry(name: str, task: str, *args: Any, queue: str, seconds: float) -> dict[str, Any]:
    """Return an entry of Celery's beat_schedule whose rounds wait one at a time.

    `name` is the name of the entry. A round is sent every `seconds`.
    """
    return {
        "task": task,
        "schedule": seconds,
        "args": args,
        "options": {"queue": queue, "expires": EXPIRES_AFTER, "headers": {HEADER: name}},
    }


def round_of(headers: Any) -> str | None:
    """Return the name of the round that a message with these headers is, or None."""
    name = headers.get(HEADER) if headers else None
    return name if isinstance(name, str) else None


def note(name: str, producer: Any) -> bool:
    """Note that a round waits; return False if the one before still does.

    Raises an error of the broker's client while the broker is down.
    """
    now = time.monotonic()
    waits_since = _noted_at.setdefault(name, now)
    is_recent = now - waits_since < LONGEST_WAIT
    is_noted = producer.channel.client.set(KEY + name, 1, nx=is_recent, px=int(LONGEST_WAIT * 1000))
    if is_noted:
        _noted_at[name] = now
    return bool(is_noted)


def begin(name: str) -> None:
    """Remove the note of a round that begins. Without a broker, the note ends by itself."""
    try:
        pool: Any = current_app.pool
        with pool.acquire(block=True) as connection:
            connection.default_channel.client.delete(KEY + name)
    except (OSError, RedisError, OperationalError) as error:
        logger.debug("Could not remove the note of round %s: %r", name, error)
