"""Measure in rounds. Each round runs everything once, so that a slow phase affects all runs."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tools.benchmarks.machine import peak_memory
from tools.benchmarks.scenarios import Latency, RequestRate, SystemUnderTest, Throughput

__all__ = ["WARM_UP", "Measurement", "Round", "Size", "measure"]

UNDONE = 0.1
# The service keeps prepared plans. Plans made on tiny tables use sequential scans until autovacuum
# notices the growth, within a minute. A long-running service is past that phase. The naive chain
# plans each statement again.
WARM_UP = 2_000
NAIVE_WARM_UP = 100
WARM_UP_SECONDS = 1.0
STEADY_RATE = 25.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """The number of rounds, the orders in each kind of run, and the seconds of HTTP load."""

    rounds: int = 3
    orders: int = 5_000
    bare_orders: int = 2_000
    naive_orders: int = 200
    steady_seconds: float = 3.6
    hurried_seconds: float = 1.5


@dataclass(kw_only=True)
class Round:
    """The results of one round. `reference` is the rate of the bare SQL, sent by `pgbench`."""

    drained: Throughput
    bare: Throughput
    reference: float
    naive_drained: Throughput
    live: Throughput
    naive_live: Throughput
    drained_undone: Throughput
    live_undone: Throughput
    steady: Latency
    naive_steady: Latency
    api: RequestRate
    bare_view: RequestRate


@dataclass(kw_only=True)
class Measurement:
    """All rounds, and the service's peak memory in megabytes by process."""

    size: Size
    rounds: list[Round] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)


def measure(
    ours: SystemUnderTest, baseline: SystemUnderTest, size: Size, *, notify: Callable[[str], None]
) -> Measurement:
    """Warm both shops up, then run the rounds."""
    _warm_up(ours, baseline)
    measured = Measurement(size=size)

    for number in range(size.rounds):
        notify(f"Round {number + 1} of {size.rounds}")
        measured.rounds.append(_round(ours, baseline, size, notify))

    measured.memory = peak_memory(ours.stack)
    return measured


def _warm_up(ours: SystemUnderTest, baseline: SystemUnderTest) -> None:
    """Connect all processes, prepare all statements, and update the planner's statistics."""
    for system, orders in ((ours, WARM_UP), (baseline, NAIVE_WARM_UP)):
        system.drain(orders)
        system.database.analyze()
        system.latency(STEADY_RATE, WARM_UP_SECONDS)


def _round(
    ours: SystemUnderTest, baseline: SystemUnderTest, size: Size, notify: Callable[[str], None]
) -> Round:
    """Run everything once. Compared runs are close together, because the machine's speed drifts."""
    few = size.naive_orders
    with ours.paused():
        bare = baseline.bare(size.bare_orders)
        reference = baseline.reference(size.bare_orders)

    notify(f"  bare SQL         {bare.rate:7,.0f} sagas/s, by pgbench {reference:,.0f}")
    with baseline.paused():
        drained_undone = ours.drain(size.orders, undone=UNDONE)
        drained = ours.drain(size.orders)

    notify(f"  draining         {drained.rate:7,.0f} sagas/s")
    with ours.paused():
        naive_drained = baseline.drain(few)
        notify(f"  naive, draining  {naive_drained.rate:7,.0f} sagas/s")
        naive_live = baseline.live(few)
        notify(f"  naive, live      {naive_live.rate:7,.0f} sagas/s")

    with baseline.paused():
        live = ours.live(size.orders)
        notify(f"  live             {live.rate:7,.0f} sagas/s")
        live_undone = ours.live(size.orders, undone=UNDONE)
        steady = ours.latency(STEADY_RATE, size.steady_seconds)

    with ours.paused():
        naive_steady = baseline.latency(STEADY_RATE, size.steady_seconds)
        bare_view = baseline.request_rate(size.hurried_seconds, path="bare/")

    with baseline.paused():
        api = ours.request_rate(size.hurried_seconds)

    return Round(
        drained=drained,
        bare=bare,
        reference=reference,
        naive_drained=naive_drained,
        live=live,
        naive_live=naive_live,
        drained_undone=drained_undone,
        live_undone=live_undone,
        steady=steady,
        naive_steady=naive_steady,
        api=api,
        bare_view=bare_view,
    )
