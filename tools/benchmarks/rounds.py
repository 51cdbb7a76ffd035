"""What is measured: rounds of every run, interleaved, so that a machine that is slow for a while
is slow for all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tools.benchmarks.machine import peak_memory
from tools.benchmarks.runs import Hurried, Shop, Steady, Throughput

__all__ = ["WARM_UP", "Measured", "Round", "Size", "measure"]

UNDONE = 0.1
# Statements stay planned on our side: what is planned while the tables are tiny reads them through,
# until autovacuum has seen them grow, within a minute. A shop that is open has that behind it. The
# naive chain plans each anew.
WARM_UP = 2_000
NAIVE_WARM_UP = 100
WARM_UP_SECONDS = 1.0
STEADY_RATE = 25.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many orders are in a run of ours, of bare SQL and of the naive chain; how long
    customers order. Seconds.
    """

    rounds: int = 3
    orders: int = 5_000
    bare_orders: int = 2_000
    naive_orders: int = 200
    steady_seconds: float = 3.6
    hurried_seconds: float = 1.5


@dataclass(kw_only=True)
class Round:
    """One of each run."""

    drained: Throughput
    bare: Throughput
    naive_drained: Throughput
    live: Throughput
    naive_live: Throughput
    drained_undone: Throughput
    live_undone: Throughput
    steady: Steady
    naive_steady: Steady
    api: Hurried
    bare_view: Hurried


@dataclass(kw_only=True)
class Measured:
    """All rounds, and the most memory a process of ours has held, in megabytes."""

    size: Size
    rounds: list[Round] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)


def measure(ours: Shop, plain: Shop, size: Size, *, say: Callable[[str], None]) -> Measured:
    """Warm both shops up, then run the rounds."""
    _warm_up(ours, plain)
    measured = Measured(size=size)
    for number in range(size.rounds):
        say(f"Round {number + 1} of {size.rounds}")
        measured.rounds.append(_round(ours, plain, size, say))
    measured.memory = peak_memory(ours.stack)
    return measured


def _warm_up(ours: Shop, plain: Shop) -> None:
    """Have every process connected and every statement prepared, and the planner know the
    tables.
    """
    for shop, orders in ((ours, WARM_UP), (plain, NAIVE_WARM_UP)):
        shop.drain(orders)
        shop.books.analyze()
        shop.steady(STEADY_RATE, WARM_UP_SECONDS)


def _round(ours: Shop, plain: Shop, size: Size, say: Callable[[str], None]) -> Round:
    """Run each once; what is compared, close together, for the speed of a machine changes by the
    minute.
    """
    few = size.naive_orders
    with ours.quiet():
        bare = plain.bare(size.bare_orders)
    say(f"  bare SQL         {bare.rate:7,.0f} sagas/s")
    with plain.quiet():
        drained_undone = ours.drain(size.orders, undone=UNDONE)
        drained = ours.drain(size.orders)
    say(f"  draining         {drained.rate:7,.0f} sagas/s")
    with ours.quiet():
        naive_drained = plain.drain(few)
        say(f"  naive, draining  {naive_drained.rate:7,.0f} sagas/s")
        naive_live = plain.live(few)
        say(f"  naive, live      {naive_live.rate:7,.0f} sagas/s")
    with plain.quiet():
        live = ours.live(size.orders)
        say(f"  live             {live.rate:7,.0f} sagas/s")
        live_undone = ours.live(size.orders, undone=UNDONE)
        steady = ours.steady(STEADY_RATE, size.steady_seconds)
    with ours.quiet():
        naive_steady = plain.steady(STEADY_RATE, size.steady_seconds)
        bare_view = plain.hurried(size.hurried_seconds, path="bare/")
    with plain.quiet():
        api = ours.hurried(size.hurried_seconds)
    return Round(
        drained=drained,
        bare=bare,
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
