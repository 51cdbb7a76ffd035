"""Periodic work that asks outside systems, and belongs to no step, runs in a thread of its worker
process. Its task ends at once, so the process runs steps while the outside thinks.

A process runs such work one at a time, so it needs one more database connection. Only work that
takes longer than the time limit of a task runs beside other work. The work is lost with its
process. It must claim its rows with a lease, so that a later round goes on.
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

__all__ = ["drop_waiting", "run", "stop"]

logger = logging.getLogger(__name__)

Work = Callable[[], object]
ErrorHandler = Callable[[Exception], object]


class _Job(NamedTuple):
    name: str
    work: Work
    on_error: ErrorHandler
    longest: float
    context: contextvars.Context  # the task of its log lines

    def run(self) -> None:
        """Run the work. The thread outlives every error, also of the handler."""
        self.context.run(self._run)

    def _run(self) -> None:
        try:
            try:
                self.work()
            except Exception as error:
                self.on_error(error)
            finally:
                connections.close_all()
        except BaseException:
            logger.exception("%s has failed, and the list of failed tasks lacks it", self.name)


class _OffloadThread:
    """The jobs of a process that wait, and the thread that runs them. It ends with the last one.

    A job that takes longer than its time keeps its thread, and another thread runs the others.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: dict[str, _Job] = {}
        self._running: dict[str, threading.Thread] = {}  # by the name of the job
        self._thread: threading.Thread | None = None
        self._job: _Job | None = None
        self._started_at = 0.0

    def add(self, job: _Job) -> None:
        """Run a job soon. A job of this name that waits already is enough.

        Raises RuntimeError if no thread can be started.
        """
        with self._changed:
            self._waiting.setdefault(job.name, job)
            if self._is_overdue():
                self._thread = self._job = None
            for name, thread in self._running.items():
                if thread is not self._thread:
                    logger.warning(
                        "The work of %s takes longer than a task may. This process begins it again"
                        " when it has ended; other work goes on",
                        name,
                    )
            if self._thread is None and self._next_name():
                thread = threading.Thread(target=self._run, name="offload", daemon=True)
                thread.start()
                self._thread = thread

    def drop_waiting(self) -> None:
        """Begin no job that waits."""
        with self._changed:
            self._waiting.clear()

    def close(self, seconds: float) -> list[str]:
        """Wait at most `seconds` for the jobs that run; return their names if they still do."""
        with self._changed:
            self._waiting.clear()
            self._changed.wait_for(lambda: not self._running, timeout=seconds)
            return sorted(self._running)

    def _is_overdue(self) -> bool:
        if self._thread is None or self._job is None:
            return False
        return time.monotonic() - self._started_at > self._job.longest

    def _run(self) -> None:
        while job := self._begin_next():
            job.run()
            with self._changed:
                del self._running[job.name]
                self._changed.notify_all()

    def _begin_next(self) -> _Job | None:
        """Return the next job; None ends this thread, also if another one has replaced it."""
        with self._changed:
            thread = threading.current_thread()
            if self._thread is None:  # no other one has replaced it
                self._thread = thread
            if self._thread is not thread:
                return None
            name = self._next_name()
            if name is None:
                self._thread = self._job = None
                return None
            self._job, self._started_at = self._waiting.pop(name), time.monotonic()
            self._running[name] = thread
            return self._job

    def _next_name(self) -> str | None:
        """Return the first job that waits and does not run in a thread that was replaced."""
        return next((name for name in self._waiting if name not in self._running), None)


_lock = threading.Lock()
_offload_thread: _OffloadThread | None = None


def run(name: str, work: Work, *, on_error: ErrorHandler, longest: float) -> None:
    """Run work in the thread of this process, if the process is a worker, else now.

    In the thread, `on_error` gets its error. Once it has taken `longest` seconds, the next call
    lets other work go on. Now, its error is raised. Work whose name waits already runs once. Work
    whose name runs already runs again afterwards.
    """
    if not in_flight.takes_calls():
        work()
        return
    _current().add(_Job(name, work, on_error, longest, contextvars.copy_context()))


def drop_waiting() -> None:
    """Begin no work that waits, because the process ends. A later round of another one does."""
    if thread := _existing():
        thread.drop_waiting()


def stop(seconds: float) -> None:
    """Wait at most `seconds` for the work that runs, as the process ends. No other begins."""
    thread = _existing()
    if thread and (names := thread.close(seconds)):
        logger.warning("This process ends before %s; a later round goes on", ", ".join(names))


def _existing() -> _OffloadThread | None:
    return _offload_thread if _offload_thread and _offload_thread.pid == os.getpid() else None


def _current() -> _OffloadThread:
    """Return the thread of this process. No thread survives a fork."""
    global _offload_thread  # noqa: PLW0603  one of each process
    with _lock:
        thread = _existing()
        if thread is None:
            thread = _offload_thread = _OffloadThread()
        return thread
