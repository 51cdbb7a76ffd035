"""Run an outage of the payment provider: calls hang while orders come, then fail, then recover."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tools.benchmarks.database import Ending
from tools.benchmarks.outage.watch import Snapshot, Watch
from tools.benchmarks.provider_runs import Behaviour, ProviderDrain, provider_of
from tools.benchmarks.scenarios import SystemUnderTest

__all__ = ["FULL", "Outage", "OutageSize", "run_outage"]

COMING = "the provider hangs, orders come"
WAITING = "the provider hangs"
FAILING = "the provider answers 500"
WELL = "the provider is well"
# Longer than any drill, so that no hanging call is answered.
HANG_SECONDS = 3600.0
# The share of the hanging time during which orders come. CPU is measured in the rest.
ORDERS_COME = 0.75


@dataclass(frozen=True, kw_only=True)
class OutageSize:
    """The orders that come, and the seconds of each phase.

    The calls of the first `settle_seconds` do not count as probes, because several calls must fail
    before the provider counts as down. Orders that are open `patience` seconds after its recovery
    count as lost. `pace_orders` are drained before, for comparison.
    """

    orders: int = 300
    hang_seconds: float = 60.0
    error_seconds: float = 20.0
    call_seconds: float = 0.3
    settle_seconds: float = 30.0
    patience: float = 600.0
    pace_orders: int = 300


FULL = OutageSize(
    orders=10_000, hang_seconds=600.0, error_seconds=60.0, patience=1800.0, pace_orders=1_000
)


@dataclass(frozen=True, kw_only=True)
class Outage:
    """The result. `pace` is the rate of draining without an outage.

    `resume_seconds` last from the recovery of the provider until the first order ends: a probe must
    release the hold. `drain_pace` is the rate from then on, and `drain_seconds` contain both.
    """

    size: OutageSize
    pace: float
    drain_pace: float
    resume_seconds: float
    drain_seconds: float
    lost: int
    cancelled: int
    attention: int
    snapshots: list[Snapshot] = field(repr=False)

    @property
    def messages(self) -> int:
        """The largest number of messages in the broker."""
        return max((each.queued for each in self.snapshots), default=0)

    @property
    def probes(self) -> float:
        """Calls a second while the provider was down, after the first `settle_seconds`."""
        settled = [
            each.calls
            for each in self.snapshots
            if each.phase != WELL and each.seconds >= self.size.settle_seconds
        ]
        return _mean(settled)

    @property
    def cpu_while_coming(self) -> float:
        """CPU seconds of all workers, for each second in which orders came."""
        return _mean(each.cpu for each in self.snapshots if each.phase == COMING)

    @property
    def cpu_while_waiting(self) -> float:
        """CPU seconds of all workers, for each second in which orders only waited."""
        return _mean(each.cpu for each in self.snapshots if each.phase in (WAITING, FAILING))


def run_outage(
    system: SystemUnderTest, size: OutageSize, *, notify: Callable[[Snapshot], None]
) -> Outage:
    """Measure the normal pace, then run the outage; call `notify` once a second."""
    provider, behaviour = provider_of(system), Behaviour(call_seconds=size.call_seconds)
    pace = ProviderDrain.run(system, behaviour, orders=size.pace_orders).rate
    system.database.vacuum()

    with Watch(system.stack, provider, notify=notify) as watch:
        watch.phase = COMING
        provider.hang(HANG_SECONDS)
        coming = ORDERS_COME * size.hang_seconds
        rate = size.orders / coming
        answers = system.order_over_http("orders/", "--rate", rate, "--seconds", coming)

        watch.phase = WAITING
        _sleep_until(watch, size.hang_seconds)
        watch.phase = FAILING
        provider.recover()
        provider.fail()
        _sleep_until(watch, size.hang_seconds + size.error_seconds)

        watch.phase = WELL
        waiting = len(_open(system.database.endings(watch.started_at), [a.order for a in answers]))
        behaviour.apply(provider)
        recovered_at = time.time()
        system.database.end_within(size.patience)

    provider.recover()
    endings = system.database.endings(watch.started_at)
    ends = [ending.at for ending in endings.values() if ending.at > recovered_at] or [recovered_at]
    first, last = min(ends), max(ends)
    return Outage(
        size=size,
        pace=pace,
        drain_pace=waiting / max(last - first, 0.001),
        resume_seconds=first - recovered_at,
        drain_seconds=last - recovered_at,
        lost=len(_open(endings, [answer.order for answer in answers])),
        cancelled=sum(ending.status == "cancelled" for ending in endings.values()),
        attention=max((each.attention for each in watch.snapshots), default=0),
        snapshots=watch.snapshots,
    )


def _open(endings: dict[str, Ending], orders: list[str]) -> list[str]:
    """Return the orders without a final status: they are open, or do not exist."""
    return [order for order in orders if order not in endings]


def _sleep_until(watch: Watch, seconds: float) -> None:
    time.sleep(max(0.0, seconds - watch.seconds))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
