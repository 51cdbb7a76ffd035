"""Sample the number of open orders while a run lasts."""

import threading
import time
from types import TracebackType
from typing import NamedTuple

import psycopg

__all__ = ["OpenOrders", "Sample", "stays_flat"]

SAMPLE_SECONDS = 0.25
COUNT = "SELECT count(*) FROM orders_order WHERE ended_at IS NULL"
# Samples of a flat run differ by chance: by a quarter, and by two orders.
GROWTH, SLACK = 1.25, 2.0


class Sample(NamedTuple):
    """The number of open orders, some seconds after the start of the run."""

    seconds: float
    open: int


class OpenOrders:
    """Samples while the context lasts: `samples`, oldest first."""

    def __init__(self, url: str) -> None:
        """Count in the database of orders at `url`."""
        self.samples: list[Sample] = []
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="open orders", daemon=True)

    def __enter__(self) -> "OpenOrders":
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop sampling."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        started = time.monotonic()
        with psycopg.connect(self._url, autocommit=True) as session:
            while not self._over.wait(SAMPLE_SECONDS):
                ((count,),) = session.execute(COUNT).fetchall()
                self.samples.append(Sample(time.monotonic() - started, count))


def stays_flat(samples: list[Sample], seconds: float) -> bool:
    """Return whether the orders end as fast as they come during the first `seconds`.

    The open orders in the last third are compared with the middle third. In the first third the
    system fills.
    """
    middle = [each.open for each in samples if seconds / 3 <= each.seconds < 2 * seconds / 3]
    last = [each.open for each in samples if 2 * seconds / 3 <= each.seconds <= seconds]
    if not middle or not last:
        return False
    return sum(last) / len(last) <= GROWTH * sum(middle) / len(middle) + SLACK
