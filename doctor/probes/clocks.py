"""The clocks of this host, of the servers and of the workers' hosts agree."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from doctor.findings import Finding, Job, Options, fault, proved, unknown
from doctor.registry import probe
from doctor.servers import broker_client, database_jobs, rows
from sagas.workers import recent_heartbeats

__all__ = ["clock"]

# Seconds. Stripe's signatures and expiry times tolerate minutes; a second shows a broken set-up.
MOST_SKEW = 1.0

READINGS = 3

REMEDY = "Synchronize the clock of every host, for example with chrony."


@probe("clock", proves="the clocks of this host, the servers and the workers agree within 1 s")
def clock(options: Options) -> Sequence[Job]:
    return [*database_jobs(_database), Job("broker", _broker), Job("workers", _workers)]


def _database(alias: str, label: str) -> Iterator[Finding]:
    yield _compare(label, lambda: rows(alias, "SELECT extract(epoch FROM clock_timestamp())")[0][0])


def _broker() -> Iterator[Finding]:
    with broker_client() as client:

        def read() -> float:
            answer: Any = client.time()
            return float(answer[0]) + float(answer[1]) / 1e6

        yield _compare("broker", read)


def _workers() -> Iterator[Finding]:
    """Compare the clocks of the workers' hosts with the clock of Redis."""
    alive = [worker for worker in recent_heartbeats() if worker.alive]
    told = {worker.name: worker.clock_ahead for worker in alive if worker.clock_ahead is not None}
    for name, ahead in told.items():
        if abs(ahead) > MOST_SKEW:
            yield fault(
                f"worker {name}: its host's clock is {ahead:+.1f} s from the broker's", REMEDY
            )
    if not alive:
        yield unknown("workers: none is alive, so their clocks are not known")
    if silent := len(alive) - len(told):
        yield unknown(f"workers: {silent} of an earlier release do not send their clock")
    if told and all(abs(ahead) <= MOST_SKEW for ahead in told.values()):
        yield proved(f"workers: the clocks of {len(told)} agree with the broker's")


def _compare(label: str, read: Callable[[], Any]) -> Finding:
    """Compare a server's clock with ours, by the reading with the shortest round trip."""
    earliest, latest = min(
        (_bounds(read) for _ in range(READINGS)), key=lambda one: one[1] - one[0]
    )
    middle, uncertain = (earliest + latest) / 2, (latest - earliest) / 2
    found = f"{label}: {middle:+.3f} s from this host's clock (± {uncertain:.3f} s)"
    if earliest > MOST_SKEW or latest < -MOST_SKEW:
        return fault(found, REMEDY)
    if earliest < -MOST_SKEW or latest > MOST_SKEW:
        return unknown(f"{found}, too slow an answer to tell")
    return proved(found)


def _bounds(read: Callable[[], Any]) -> tuple[float, float]:
    """Return the least and the most seconds by which a server's clock is ahead of ours."""
    before = time.time()
    theirs = float(read())
    after = time.time()
    return theirs - after, theirs - before
