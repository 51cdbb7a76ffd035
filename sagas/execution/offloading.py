"""Periodic work that asks outside systems, and belongs to no step, runs in a thread of its worker
process. Its task ends at once, so the process runs steps while the outside thinks.

A process runs such work one at a time, so it needs one more database connection and no more. The
work is lost with its process. It must claim its rows with a lease, so that a later round goes on.
"""

import contextvars
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from django.db import connections

from sagas.execution import in_flight

__all__ = ["run", "stop"]

logger = logging.getLogger(__name__)

Work = Callable[[], object]
ErrorHandler = Callable[[Exception], object]


class _Job(NamedTuple):
    name: str
    work: Work
    on_error: ErrorHandler
    context: contextvars.Context  # the task of its log lines

    def run(self) -> None:
        """Run the work. The thread outlives its errors."""
        try:
            self.context.run(self.work)
        except Exception as error:
            self.context.run(self.on_error, error)
        finally:
            connections.close_all()


class _OffloadThread:
    """The jobs of a process that wait, and the thread that runs them. It ends with the last one."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: dict[str, _Job] = {}
        self._thread: threading.Thread | None = None
        self._job: str = ""
        self._started_at = 0.0

    def add(self, job: _Job, *, longest: float) -> None:
        """Run a job soon. A job of this name that waits already is enough."""
        with self._changed:
            self._waiting.setdefault(job.name, job)
            took = time.monotonic() - self._started_at
            if self._thread and took > longest:
                logger.warning("%s has not ended in %.0f s; other work goes on", self._job, took)
                self._thread = None
            if not self._thread:
                self._thread = threading.Thread(target=self._run, name="offload", daemon=True)
                self._started_at = time.monotonic()
                self._thread.start()

    def close(self, seconds: float) -> bool:
        """Drop what waits; tell whether the job that runs has ended within `seconds`."""
        with self._changed:
            self._waiting.clear()
            return self._changed.wait_for(lambda: self._thread is None, timeout=seconds)

    def _run(self) -> None:
        while job := self._next():
            job.run()

    def _next(self) -> _Job | None:
        """Return the next job; None ends this thread, also if another one has replaced it."""
        with self._changed:
            if self._thread is not threading.current_thread():
                return None
            if not self._waiting:
                self._thread = None
                self._changed.notify_all()
                return None
            job = self._waiting.pop(next(iter(self._waiting)))
            self._job, self._started_at = job.name, time.monotonic()
            return job


_lock = threading.Lock()
_offload_thread: _OffloadThread | None = None


def run(name: str, work: Work, *, on_error: ErrorHandler, longest: float) -> None:
    """Run work in the thread of this process, if the process is a worker, else now.

    In the thread, `on_error` gets its error, and other work no longer waits for it after `longest`
    seconds. Now, its error is raised. Work whose name waits already runs once. Work whose name runs
    already runs again afterwards.
    """
    if not in_flight.takes_calls():
        work()
        return
    job = _Job(name, work, on_error, contextvars.copy_context())
    _current().add(job, longest=longest)


def stop(seconds: float) -> None:
    """Wait at most `seconds` for the work that runs, as the process ends. No other begins."""
    thread = _offload_thread
    if thread and thread.pid == os.getpid() and not thread.close(seconds):
        logger.warning("The outside did not answer %s; a later round asks again", thread._job)


def _current() -> _OffloadThread:
    """Return the thread of this process. No thread survives a fork."""
    global _offload_thread  # noqa: PLW0603  one of each process
    with _lock:
        if _offload_thread is None or _offload_thread.pid != os.getpid():
            _offload_thread = _OffloadThread()
        return _offload_thread
