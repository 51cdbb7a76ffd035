"""Measure the service beside providers of different speed, with and without hanging calls."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tools.benchmarks.provider_runs import HANG_SHARE, Behaviour, ProviderDrain, ProviderRun
from tools.benchmarks.scenarios import SHORT_WARM_UP, SystemUnderTest
from tools.benchmarks.verdicts import Figure, Verdict, figure_of, verdict_on

__all__ = ["FULL", "ProviderSize", "Providers", "judge_providers", "measure_providers"]

Notify = Callable[[str], None]

# Orders per second that the search for the highest flat rate tries.
LADDER = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0)


@dataclass(frozen=True, kw_only=True)
class ProviderSize:
    """The providers to measure, and the size of each run.

    `call_seconds` has the seconds that a call takes at each provider. The providers in `with_hangs`
    are also measured with hanging calls. For the providers in `climbed`, the highest flat rate is
    looked for, among the rates of `ladder`. Each provider gets each of `rates`, in orders per
    second, for `seconds`. Then `orders` orders are drained. `warm_up` orders come first.
    """

    call_seconds: Sequence[float] = (0.05, 0.3, 1.5)
    with_hangs: Sequence[float] = (0.3,)
    climbed: Sequence[float] = (0.3,)
    rates: Sequence[float] = (5.0, 20.0)
    ladder: Sequence[float] = LADDER
    seconds: float = 12.0
    orders: int = 500
    warm_up: int = SHORT_WARM_UP


EVERY = ProviderSize.call_seconds
FULL = ProviderSize(with_hangs=EVERY, climbed=EVERY, seconds=60.0)


@dataclass(kw_only=True)
class Providers:
    """All runs. `highest` has the highest flat rate found, by the seconds of a call; 0: none."""

    size: ProviderSize
    runs: list[ProviderRun] = field(default_factory=list)
    drains: list[ProviderDrain] = field(default_factory=list)
    highest: dict[float, float] = field(default_factory=dict)

    def run_at(self, behaviour: Behaviour, rate: float) -> ProviderRun | None:
        """Return the run of a behaviour and a rate."""
        found = (run for run in self.runs if (run.behaviour, run.rate) == (behaviour, rate))
        return next(found, None)

    def drain_of(self, behaviour: Behaviour) -> ProviderDrain | None:
        """Return the drain of a behaviour."""
        return next((drain for drain in self.drains if drain.behaviour == behaviour), None)


def measure_providers(system: SystemUnderTest, size: ProviderSize, *, notify: Notify) -> Providers:
    """Measure each provider; first all rates and the drain, then the same with hanging calls."""
    _warm_up(system, size.warm_up)
    measured = Providers(size=size)
    for behaviour in _behaviours(size):
        for rate in size.rates:
            measured.runs.append(_run(system, behaviour, rate, size, notify))

        drain = ProviderDrain.run(system, behaviour, orders=size.orders)
        notify(f"  {describe(behaviour)}: draining {drain.rate:,.1f} sagas/s")
        measured.drains.append(drain)

        if not behaviour.hanging and behaviour.call_seconds in size.climbed:
            highest = _highest_flat(system, behaviour, measured, notify)
            measured.highest[behaviour.call_seconds] = highest

    return measured


def judge_providers(measured: Providers) -> list[Verdict]:
    """Return the figures that have a target, and whether each meets it."""
    return [*_latencies(measured), *_rates(measured), *_beside_hangs(measured)]


def describe(behaviour: Behaviour) -> str:
    """Return a behaviour as words, such as `300 ms, 2 % of calls hang`."""
    hangs = f", {behaviour.hanging:.0%} of calls hang".replace("%", " %")
    return f"{1000 * behaviour.call_seconds:,.0f} ms{hangs if behaviour.hanging else ''}"


def _behaviours(size: ProviderSize) -> Iterator[Behaviour]:
    for seconds in size.call_seconds:
        yield Behaviour(call_seconds=seconds)
        if seconds in size.with_hangs:
            yield Behaviour(call_seconds=seconds, hanging=HANG_SHARE)


def _warm_up(system: SystemUnderTest, orders: int) -> None:
    """Connect all processes, prepare all statements, and update the planner's statistics."""
    system.drain(orders)
    system.database.analyze()


def _run(
    system: SystemUnderTest, behaviour: Behaviour, rate: float, size: ProviderSize, notify: Notify
) -> ProviderRun:
    run = ProviderRun.run(system, behaviour, rate=rate, seconds=size.seconds)
    late = f", {run.late} late" if run.late else ""
    flat = "" if behaviour.hanging else ", flat" if run.flat else ", open orders grow"
    notify(
        f"  {describe(behaviour)}, {rate:g} orders/s: "
        f"p50 {run.p50 / 1000:.2f} s, p99 {run.p99 / 1000:.2f} s{late}{flat}"
    )
    return run


def _highest_flat(
    system: SystemUnderTest, behaviour: Behaviour, measured: Providers, notify: Notify
) -> float:
    """Climb from the highest measured flat rate until a rate does not stay flat."""
    size = measured.size
    runs = [run for run in measured.runs if run.behaviour == behaviour]
    highest = max((run.rate for run in runs if run.flat), default=0.0)
    limit = min((run.rate for run in runs if not run.flat), default=float("inf"))

    for rate in (each for each in size.ladder if highest < each < limit):
        if not _run(system, behaviour, rate, size, notify).flat:
            break
        highest = rate
    return highest


def _latencies(measured: Providers) -> Iterator[Verdict]:
    """Compare the percentiles with the provider's own two calls."""
    for seconds, rate, p50, p99 in ((0.3, 20.0, 1.2, 2.0), (1.5, 5.0, 1.1, 1.3)):
        behaviour = Behaviour(call_seconds=seconds)
        run = measured.run_at(behaviour, rate)
        if run:
            floor, name = 1000 * behaviour.floor, f"{describe(behaviour)} a call, {rate:g}/s"
            yield verdict_on(_one(f"{name}: p50 ÷ two calls", run.p50 / floor), at_most=p50)
            yield verdict_on(_one(f"{name}: p99 ÷ two calls", run.p99 / floor), at_most=p99)


def _rates(measured: Providers) -> Iterator[Verdict]:
    behaviour = Behaviour(call_seconds=0.3)
    if behaviour.call_seconds in measured.highest:
        highest = measured.highest[behaviour.call_seconds]
        yield verdict_on(_one("300 ms: highest flat rate", highest, "orders/s"), at_least=30)
    if drain := measured.drain_of(behaviour):
        yield verdict_on(_one("300 ms: draining", drain.rate, "sagas/s"), at_least=80)


def _beside_hangs(measured: Providers) -> Iterator[Verdict]:
    """Compare orders none of whose calls hung with the same rate without hanging calls."""
    for run in measured.runs:
        plain = measured.run_at(Behaviour(call_seconds=run.behaviour.call_seconds), run.rate)
        if run.behaviour.hanging and plain and run.others:
            name = f"{describe(run.behaviour)}, {run.rate:g}/s: p99 of the others ÷ without"
            yield verdict_on(_one(name, run.p99_of_others / plain.p99), at_most=1.2)


def _one(name: str, value: float, unit: str = "×") -> Figure:
    return figure_of(name, unit, [value])
