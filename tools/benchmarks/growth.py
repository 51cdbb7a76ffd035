"""What becomes of it as it grows: the same runs on an empty system and on one with a long
history, and a backlog.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tools.benchmarks.history import write_history
from tools.benchmarks.machine import peak_memory
from tools.benchmarks.rounds import WARM_UP
from tools.benchmarks.runs import Shop, Throughput

__all__ = ["Growth", "GrowthSize", "measure_growth"]


@dataclass(frozen=True, kw_only=True)
class GrowthSize:
    """How long the history and the backlog are, and how much each run drains."""

    rounds: int = 3
    history: int = 1_000_000
    backlog: int = 100_000
    orders: int = 5_000


@dataclass(kw_only=True)
class Growth:
    """Draining, interleaved, on an empty system and on one with a history; then the backlog on
    the empty one.
    """

    size: GrowthSize
    empty: list[Throughput] = field(default_factory=list)
    old: list[Throughput] = field(default_factory=list)
    backlog: Throughput | None = None
    memory: dict[str, float] = field(default_factory=dict)


def measure_growth(
    empty: Shop, old: Shop, size: GrowthSize, *, say: Callable[[str], None]
) -> Growth:
    """Write the history, then drain by turns; then a backlog."""
    growth = Growth(size=size)
    for shop in (empty, old):
        shop.drain(WARM_UP)
    with old.quiet():
        write_history(old.stack, size.history, say=say)
    for shop in (empty, old):
        shop.books.analyze()
    for number in range(size.rounds):
        say(f"Round {number + 1} of {size.rounds}")
        with old.quiet():
            growth.empty.append(empty.drain(size.orders))
        with empty.quiet():
            growth.old.append(old.drain(size.orders))
        say(
            f"  empty {growth.empty[-1].rate:,.0f}, with a history {growth.old[-1].rate:,.0f} sagas/s"
        )
    with old.quiet():
        growth.backlog = empty.drain(size.backlog)
    growth.memory = peak_memory(empty.stack)
    return growth
