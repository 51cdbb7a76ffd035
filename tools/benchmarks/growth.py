"""Measure growth: compare an empty system with one that has a long history, and drain a backlog."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tools.benchmarks.history import write_history
from tools.benchmarks.machine import peak_memory
from tools.benchmarks.measurement import WARM_UP
from tools.benchmarks.scenarios import SystemUnderTest, Throughput

__all__ = ["Growth", "GrowthSize", "measure_growth"]


@dataclass(frozen=True, kw_only=True)
class GrowthSize:
    """The number of orders in the history, in the backlog, and in each run."""

    rounds: int = 3
    history: int = 1_000_000
    backlog: int = 100_000
    orders: int = 5_000


@dataclass(kw_only=True)
class Growth:
    """The results: runs on an empty system and on one with a history, and the backlog's run.

    The backlog runs on the empty system. `memory` is the peak memory in megabytes by process.
    """

    size: GrowthSize
    empty: list[Throughput] = field(default_factory=list)
    old: list[Throughput] = field(default_factory=list)
    backlog: Throughput | None = None
    memory: dict[str, float] = field(default_factory=dict)


def measure_growth(
    empty: SystemUnderTest, old: SystemUnderTest, size: GrowthSize, *, notify: Callable[[str], None]
) -> Growth:
    """Write the history, drain both systems in turn, then drain a backlog."""
    growth = Growth(size=size)
    for system in (empty, old):
        system.drain(WARM_UP)

    with old.paused():
        write_history(old.stack, size.history, notify=notify)

    for system in (empty, old):
        system.database.analyze()

    for number in range(size.rounds):
        notify(f"Round {number + 1} of {size.rounds}")
        with old.paused():
            growth.empty.append(empty.drain(size.orders))

        with empty.paused():
            growth.old.append(old.drain(size.orders))

        notify(
            f"  empty {growth.empty[-1].rate:,.0f} sagas/s, "
            f"with a history {growth.old[-1].rate:,.0f} sagas/s"
        )

    with old.paused():
        growth.backlog = empty.drain(size.backlog)

    growth.memory = peak_memory(empty.stack)
    return growth
