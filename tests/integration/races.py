"""Run calls in threads that start at once, or that lose a race for a lock."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

from django.db import connections

__all__ = ["at_once", "blocked_behind", "rows", "started"]

T = TypeVar("T")

BEHIND_US = (
    "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
)


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Run all calls at the same moment, and return their results in order.

    Each call has a thread and database connections of its own. Raises the first exception.
    """
    start = Barrier(len(calls), timeout=30)

    def run(call: Callable[[], T]) -> T:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [
            future.result(timeout=60)
            for future in [pool.submit(_and_close, run, call) for call in calls]
        ]


def blocked_behind(alias: str, call: Callable[[], T]) -> Future[T]:
    """Start a call that needs a lock of the caller, and return once the call waits for it."""
    future = started(call)
    deadline = time.monotonic() + 10
    while not rows(alias, BEHIND_US):
        assert not future.done(), f"It did not wait: {future.result()!r}"
        assert time.monotonic() < deadline, "It does not wait for a lock."
    return future


def started(call: Callable[[], T]) -> Future[T]:
    """Start a call in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(_and_close, call)
    pool.shutdown(wait=False)
    return future


def rows(alias: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a query and return its rows."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def _and_close(call: Callable[..., T], *arguments: Any) -> T:
    try:
        return call(*arguments)
    finally:
        connections.close_all()
