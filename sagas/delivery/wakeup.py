"""The wakeup: a thread of the committing process flushes the outbox soon after a commit.

The thread gathers the commits of many sagas into one flush. With one flush for each saga, the
workers would get messages of one saga each. No request waits for the thread. While the broker is
down, the rows stay in the outbox, and beat's periodic flush sends them.

In a worker, the thread also flushes the rows that steps have kept back before a long queue
(`sagas.delivery.admission`).
"""

import logging
import os
import threading
import time

from django.db import close_old_connections, connections

from sagas.delivery import admission, queues, relay
from sagas.storage.registry import get_service

__all__ = ["request_flush", "request_gathered_flush"]

logger = logging.getLogger(__name__)

# After a flush of n rows the thread waits 10 ms × n, while the next batch gathers. Measured:
# messages that used to hold three sagas are then full. A saga that starts alone is not delayed.
# Where sagas start together, the thread waits at least four times as long as the flush took: on a
# busy machine more sagas then share a message, which costs less CPU. Where sagas start one at a
# time, that wait would only delay the next saga. Seconds.
DELAY_PER_ROW = 0.010
DELAY_PER_FLUSH_SECOND = 4.0
LONGEST_DELAY = 0.100

# While the workers are more than this many messages behind, another small message would only wait
# in their queue. New sagas then gather in the outbox and leave together. Waits are in seconds.
MOST_QUEUED = 2
LONGEST_BACKLOG_WAIT = 0.500
BACKLOG_POLL_INTERVAL = 0.020

# Seconds for which the rows that steps have kept back gather before they are flushed.
GATHERING_TIME = 0.500

# A flush of at most this many rows shows that sagas start one at a time.
FEW_ROWS = 2


class _FlushThread:
    def __init__(self, service: str) -> None:
        self.service = service
        self.pid = os.getpid()
        self._is_requested = False
        self._gathered_at: float | None = None
        self._changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, name=f"flush-{service}", daemon=True)
        self.thread.start()

    def is_alive(self) -> bool:
        """Tell whether the thread runs. No thread survives a fork."""
        return self.pid == os.getpid() and self.thread.is_alive()

    def request(self) -> None:
        with self._changed:
            self._is_requested = True
            self._changed.notify()

    def request_gathered(self) -> None:
        """Request a flush `GATHERING_TIME` after the first such request, or with an earlier one."""
        with self._changed:
            if self._gathered_at is None:
                self._gathered_at = time.monotonic() + GATHERING_TIME
                self._changed.notify()

    def _await_request(self) -> None:
        with self._changed:
            while not self._is_requested:
                left = None
                if self._gathered_at is not None:
                    left = self._gathered_at - time.monotonic()
                    if left <= 0:
                        return
                self._changed.wait(left)

    def _take_requests(self) -> None:
        with self._changed:
            self._is_requested = False
            self._gathered_at = None

    def _run(self) -> None:
        sent = 0
        while True:
            self._await_request()
            if sent > FEW_ROWS:
                self._await_backlog()
            self._take_requests()

            started = time.monotonic()
            sent = self.flush_once()
            took = time.monotonic() - started
            time.sleep(batching_delay(sent=sent, took=took))

    def _await_backlog(self) -> None:
        """Wait until the workers have almost caught up, at most `LONGEST_BACKLOG_WAIT`."""
        deadline = time.monotonic() + LONGEST_BACKLOG_WAIT
        try:
            while time.monotonic() < deadline and queues.home_backlog(self.service) > MOST_QUEUED:
                time.sleep(BACKLOG_POLL_INTERVAL)
        except Exception as error:  # the flush meets the same fault, and logs it as a warning
            logger.debug("Could not ask the broker for the length of its queues: %r", error)

    def flush_once(self) -> int:
        """Flush; return how many rows were sent. Log a failure: the rows stay in the outbox."""
        try:
            return relay.flush(get_service(self.service))
        except Exception as error:  # the thread must survive any fault of broker or database
            logger.warning(
                "Could not flush the outbox of %s after a commit."
                " Its rows are safe, and beat's next flush sends them: %r",
                self.service,
                error,
            )
            connections.close_all()
            return 0
        finally:
            # Return the connection to the pool, or have it tested before its next use, because the
            # database may restart in between.
            close_old_connections()


def batching_delay(*, sent: int, took: float) -> float:
    """Return the seconds to wait after a flush that sent `sent` rows in `took` seconds."""
    delay_for_rows = DELAY_PER_ROW * sent
    delay_for_load = DELAY_PER_FLUSH_SECOND * took if sent > FEW_ROWS else 0.0
    return min(LONGEST_DELAY, max(delay_for_rows, delay_for_load))


_flush_threads: dict[str, _FlushThread] = {}
_lock = threading.Lock()


def request_flush(service: str) -> None:
    """Have this process's thread flush a service's outbox soon. Never blocks and never raises."""
    if flush_thread := _thread_of(service):
        flush_thread.request()


def request_gathered_flush(service: str) -> None:
    """Have this process's thread flush a service's outbox within `GATHERING_TIME`, for rows that a
    step has kept back. Never blocks and never raises.
    """
    if flush_thread := _thread_of(service):
        flush_thread.request_gathered()


def _thread_of(service: str) -> _FlushThread | None:
    """Return the thread of this process; None if nothing is sent now, or no thread can start."""
    if admission.is_suspended():
        return None
    with _lock:
        flush_thread = _flush_threads.get(service)
        if flush_thread is None or not flush_thread.is_alive():
            try:
                flush_thread = _flush_threads[service] = _FlushThread(service)
            except RuntimeError as error:  # the host has no more threads
                logger.warning(
                    "Could not start the thread that flushes %s; beat's next flush sends: %r",
                    service,
                    error,
                )
                return None
    return flush_thread
