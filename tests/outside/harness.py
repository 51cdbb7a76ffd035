"""The harness of the tests in this folder: the broker, PostgreSQL and a running system."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import redis
from django.db import connections
from psycopg import sql

from orders.models import Order
from sagas.storage.registry import get_service
from tests.plugin import running
from tests.processes import LIMIT, Process, beat, until, worker
from tests.system.harness import SERVICES, assert_sound

__all__ = [
    "SHORT_TIMES",
    "System",
    "as_superuser",
    "end_sessions",
    "in_broker",
    "in_database",
    "name_of",
    "running_system",
    "superuser_in",
    "valkey",
]

# Short leases and stalls, so that the system finds lost messages within seconds.
SHORT_TIMES = {
    "OUTBOX_FLUSH_SECONDS": "0.5",
    "SAGA_STALL_SECONDS": "3",
    "SAGA_LEASE_SECONDS": "4",
    "SAGA_STEP_ATTEMPTS": "3",
}

# Seconds. The longest time for orders to end after the last fault.
MAX_SECONDS_TO_END = 90

# More messages than suspended workers can have prefetched.
ENOUGH = 6

# Seconds. Longer than any step takes in these tests.
RECENT_SECONDS = 2

# Celery waits ten seconds for a killed child's result before it retries the task.
# https://github.com/celery/billiard/blob/main/billiard/pool.py (LOST_WORKER_TIMEOUT)
RECENT_SECONDS_AFTER_KILL = 10 + 2 * RECENT_SECONDS

OPEN_ROWS = """
SELECT (SELECT count(*) FROM {outbox} WHERE published_at IS NULL)
     + (SELECT count(*) FROM {inbox} WHERE state IN ('started', 'waiting'))
"""

END = """
WITH sessions AS MATERIALIZED (
  SELECT pid, datname FROM pg_stat_activity
   WHERE datname LIKE 'test\\_%' AND pid <> pg_backend_pid() AND {condition}
)
SELECT datname FROM sessions WHERE pg_terminate_backend(pid)
"""


@dataclass(frozen=True)
class System:
    """The workers that serve the test's orders."""

    workers: Sequence[Process]

    def output(self) -> str:
        """Return the output of the workers."""
        return "\n".join(process.output() for process in self.workers)

    def wait_for_output(self, text: str, *, since: int = 0) -> None:
        """Wait until the workers print `text` after the first `since` characters of output."""
        until(
            lambda: text in self.output()[since:],
            f"a worker logs {text!r}",
            process=self.workers[0],
        )

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend the workers while the context lasts."""
        self._signal(signal.SIGSTOP)
        try:
            # A waiting worker still receives one message. Beat must have sent that message.
            until(lambda: in_broker() > ENOUGH, "messages wait in the broker")
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _until(self, condition: Callable[[], bool], label: str, *, limit: float = LIMIT) -> None:
        """Wait for a condition, and restart a worker that exits because of the broker."""
        until(condition, label, limit=limit, process=self.workers[0], restarting=self.workers)

    def _signal(self, number: int) -> None:
        for process in self.workers:
            os.kill(process.popen.pid, number)

    def wait_until_idle(self, *, after_kill: bool = False) -> None:
        """Wait until all orders have ended and no message is left; then check all invariants.

        `after_kill`: a child of a worker was killed, so its task may run again late.
        """
        recent = RECENT_SECONDS_AFTER_KILL if after_kill else RECENT_SECONDS
        connections.close_all()  # a fault may have broken the connections
        self._until(_all_ended, "all orders have ended", limit=MAX_SECONDS_TO_END)
        self._until(_nothing_open, "every row is sent and recorded")
        self._until(lambda: in_broker(recent) == 0, "the broker is empty")

        with valkey() as client:
            # The broker would deliver unacknowledged messages again during the next test.
            client.flushall()

        assert_sound()


@contextmanager
def running_system(environ: Mapping[str, str]) -> Iterator[System]:
    """Run beat, and a worker for all services with two processes."""
    with worker(*SERVICES, environ=environ, concurrency=2) as process, beat(environ=environ):
        yield System([process])


def valkey() -> redis.Redis:
    """Return a client of the broker."""
    return redis.Redis.from_url(running().valkey.url, socket_timeout=5)


def in_broker(recent: float = RECENT_SECONDS) -> int:
    """Return the number of messages that wait in the broker, in a worker, or for a retry.

    A message taken longer than `recent` seconds ago is done, but not acknowledged. The broker
    delivers it again after a minute.
    """
    since = time.time() - recent
    with valkey() as client:
        waiting: list[Any] = [client.llen(queue) for queue in SERVICES]
        taken: Any = dict(client.zrange("unacked_index", 0, -1, withscores=True))
        messages: Any = client.hgetall("unacked")

    held = [tag for tag, at in taken.items() if max(at, _due(messages.get(tag))) > since]
    return int(sum(waiting)) + len(held)


def _due(unacked: bytes | None) -> float:
    """Return the Unix time at which a worker runs a message that it holds for a retry, else 0."""
    eta = json.loads(unacked)[0].get("headers", {}).get("eta") if unacked else None
    return datetime.fromisoformat(eta).timestamp() if eta else 0


def as_superuser(statement: str, *names: str) -> list[tuple[Any, ...]]:
    """Run a statement as PostgreSQL's superuser with the given identifiers; return its rows."""
    with psycopg.connect(running().postgres.superuser_url, autocommit=True) as session:
        done = session.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
        return done.fetchall() if done.description else []


def end_sessions(condition: str = "true") -> list[str]:
    """End the sessions in the test databases that match a condition; return the database of each.

    The caller's own sessions are included. Close its connections to use them again.
    """
    return [name for (name,) in as_superuser(END.format(condition=condition))]


@contextmanager
def superuser_in(alias: str) -> Iterator[psycopg.Connection]:
    """Yield a superuser's session in the database of an alias; roll back what the test does not
    commit.
    """
    with psycopg.connect(running().postgres.superuser_url, dbname=name_of(alias)) as session:
        try:
            yield session
        finally:
            session.rollback()


def in_database(alias: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a query in the database of an alias."""
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def name_of(alias: str) -> str:
    """Return the name of the database of an alias."""
    return str(connections[alias].settings_dict["NAME"])


def _all_ended() -> bool:
    return not Order.objects.filter(ended_at=None).exists()


def _nothing_open() -> bool:
    return not any(_open_rows(service) for service in SERVICES)


def _open_rows(name: str) -> int:
    service = get_service(name)
    ((count,),) = in_database(
        service.alias, OPEN_ROWS.format(outbox=service.outbox, inbox=service.inbox)
    )
    return int(count)
