"""The nudge: a thread of the committing process that flushes its outbox soon after a commit.

Best effort and coalesced: never one flush for each order, or the relay outruns the workers with
messages of one. No request waits for it; a broker that is down or hung costs the thread its time,
and beat flushes what it left.
"""

import logging
import os
import threading
import time

from django.db import close_old_connections, connections

from sagas.delivery import queues, relay
from sagas.storage.registry import get_service

__all__ = ["request_flush"]

logger = logging.getLogger(__name__)

# After a flush of n rows the thread lingers 10 ms × n while the next batch gathers: measured to
# turn messages of three orders into full ones, at no cost to a single order. And, where orders come
# together, four times as long as the flush took: the busier the machine, the more orders share a
# message, and the less busy it is. Where they come one at a time that would only keep the next one
# waiting, the longer the busier the machine. At most 100 ms.
LINGER_PER_ROW = 0.010
LINGER_PER_SECOND = 4.0
LINGER_MOST = 0.100

# While more messages than this wait for the workers, another small one would only wait behind them:
# what is placed gathers in the outbox and leaves as one. Never for long, and never where orders
# come one at a time.
AHEAD = 2
HOLD_MOST = 0.500
HOLD_STEP = 0.020
ALONE = 2


class _FlushThread:
    def __init__(self, service: str) -> None:
        self.service = service
        self.pid = os.getpid()
        self.wanted = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"nudge-{service}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        sent = 0
        while True:
            self.wanted.wait()
            if sent > ALONE:
                self._hold()
            self.wanted.clear()
            began = time.monotonic()
            sent = self.flush_once()
            time.sleep(batching_delay(sent=sent, took=time.monotonic() - began))

    def _hold(self) -> None:
        """Wait until the workers have come nearer to what was sent before, or for as long as
        that may take.
        """
        deadline = time.monotonic() + HOLD_MOST
        try:
            while time.monotonic() < deadline and queues.waiting_for(self.service) > AHEAD:
                time.sleep(HOLD_STEP)
        except Exception as error:  # the flush will find out, and say so
            logger.debug("The broker does not say how long its queues are: %r", error)

    def flush_once(self) -> int:
        """Flush; return how many rows were sent. A failure is logged: the rows are safe where
        they are.
        """
        try:
            return relay.flush(get_service(self.service))
        except Exception as error:  # the thread must outlive any fault of broker or database
            logger.warning(
                "The nudge could not flush the outbox of %s, beat will: %r", self.service, error
            )
            connections.close_all()
            return 0
        finally:
            # As after a request: to the pool, where there is one; else tested before its next use,
            # for the database may restart meanwhile.
            close_old_connections()


def batching_delay(*, sent: int, took: float) -> float:
    """Return the seconds to wait after a flush that sent so many rows and took so many seconds."""
    busy = LINGER_PER_SECOND * took if sent > ALONE else 0.0
    return min(LINGER_MOST, max(LINGER_PER_ROW * sent, busy))


_flush_threads: dict[str, _FlushThread] = {}
_lock = threading.Lock()


def request_flush(service: str) -> None:
    """Ask this process's thread to flush a service's outbox soon. Never blocks and never raises."""
    with _lock:
        nudger = _flush_threads.get(service)
        if nudger is None or nudger.pid != os.getpid():  # a thread does not survive a fork
            nudger = _flush_threads[service] = _FlushThread(service)
    nudger.wanted.set()
