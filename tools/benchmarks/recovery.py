"""Measure how soon orders go on after a process was killed, or a message lost."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from tools.benchmarks.recovery_scenes import RecoveryScene, another_worker
from tools.benchmarks.report import machine, write_json
from tools.benchmarks.scenarios import SystemUnderTest
from tools.benchmarks.tables import verdict_table
from tools.benchmarks.verdicts import Verdict, figure_of, verdict_on

__all__ = ["FULL", "REPEATS", "Recovery", "measure_recovery", "show_recovery", "write_recovery"]

REPEATS, FULL = 3, 10
# The limits of the worst value, in seconds.
CHILD_SECONDS, OTHER_SECONDS, MESSAGE_SECONDS = 1.0, 2.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """One kind of loss: its limit, and the seconds until the orders went on, for each time."""

    name: str
    limit: float
    seconds: list[float] = field(default_factory=list)


def measure_recovery(
    system: SystemUnderTest, repeats: int, *, notify: Callable[[str], None]
) -> list[Recovery]:
    """Cause every kind of loss several times."""
    alone = RecoveryScene(system)
    measured = []
    kinds = [
        *_with_and_without("children of a worker", CHILD_SECONDS, alone.kill_children),
        (Recovery(name="a lost message", limit=MESSAGE_SECONDS), alone.lose_message),
    ]
    measured += [_repeat(recovery, cause, repeats, notify) for recovery, cause in kinds]

    with another_worker(system) as other:
        scene = RecoveryScene(system, other)
        kinds = [
            *_with_and_without("a main process, another lives", OTHER_SECONDS, scene.kill_main),
            *_with_and_without("a host, another lives", OTHER_SECONDS, scene.kill_host),
        ]
        measured += [_repeat(recovery, cause, repeats, notify) for recovery, cause in kinds]

    return measured


def judge_recovery(measured: list[Recovery]) -> list[Verdict]:
    """Return the seconds of each kind of loss. The worst one decides."""
    return [
        verdict_on(figure_of(each.name, "s", each.seconds), at_most=each.limit, worst=True)
        for each in measured
    ]


def show_recovery(console: Console, measured: list[Recovery]) -> None:
    """Print the seconds of each kind of loss."""
    title = "Seconds until the orders go on, after SIGKILL; the maximum decides"
    console.print(verdict_table(title, judge_recovery(measured)))


def write_recovery(measured: list[Recovery]) -> Path:
    """Write the results as JSON; return the path."""
    everything = {"machine": machine(), "targets": judge_recovery(measured), "losses": measured}
    return write_json("recovery.json", everything)


def _with_and_without(
    name: str, limit: float, kill: Callable[..., float]
) -> Iterator[tuple[Recovery, Callable[[], float]]]:
    yield Recovery(name=f"{name}, calls in flight", limit=limit), lambda: kill(in_flight=True)
    yield Recovery(name=f"{name}, no work", limit=limit), lambda: kill(in_flight=False)


def _repeat(
    recovery: Recovery, cause: Callable[[], float], repeats: int, notify: Callable[[str], None]
) -> Recovery:
    for _ in range(repeats):
        recovery.seconds.append(cause())
    listed = ", ".join(f"{seconds:.2f}" for seconds in recovery.seconds)
    notify(f"  {recovery.name}: {listed} s")
    return recovery
