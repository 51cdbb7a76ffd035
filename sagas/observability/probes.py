"""Run probes that may hang, all within one time limit. Used by readiness, metrics and console.

A probe that hangs is not started a second time: later callers wait for the running one. So a
hung server costs one thread per probe, however often it is probed. The timeouts of the probe's
own connection end it.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from django.db import connections

__all__ = ["gather"]

T = TypeVar("T")

_threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="probe")
_running: dict[str, Future[Any]] = {}
_lock = threading.Lock()


def gather(probes: Mapping[str, Callable[[], T]], *, seconds: float) -> dict[str, T]:
    """Run probes concurrently; return the results that arrive within some seconds, by name.

    A probe that failed or is still running is missing from the result.
    """
    futures = {name: _start(name, probe) for name, probe in probes.items()}
    wait(futures.values(), timeout=seconds)
    return {
        name: future.result()
        for name, future in futures.items()
        if future.done() and not future.exception()
    }


def _start(name: str, probe: Callable[[], T]) -> Future[T]:
    """Start a probe, or return the one of this name that is still running."""
    with _lock:
        running = _running.get(name)
        if running is None or running.done():
            running = _running[name] = _threads.submit(_run, probe)
        return running


def _run(probe: Callable[[], T]) -> T:
    try:
        return probe()
    finally:
        connections.close_all()  # the connections of this thread
