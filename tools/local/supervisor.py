"""Keep a set of programs running: started in order, restarted when one dies, stopped in the
reverse order.
"""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from tools.local.errors import LocalError

__all__ = ["Child", "Supervisor"]

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
# A program that has been up this long has recovered: its next death is a new one, not part of a
# series.
SETTLED_SECONDS = 30.0


class Runnable(Protocol):
    """What the supervisor needs of a process."""

    name: str

    @property
    def running(self) -> bool:
        """Whether it is up."""

    @property
    def pid(self) -> int | None:
        """Its process id."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Stop it, waiting until it is gone."""


@dataclass(kw_only=True)
class Child:
    """A program under supervision, and what its past says of when to start it again."""

    process: Runnable
    stage: int
    started_at: float = field(default=0.0, init=False)
    deaths: int = field(default=0, init=False)
    next_start_at: float | None = field(default=None, init=False)

    def start(self, now: float) -> None:
        """Start the program."""
        self.next_start_at = None
        self.started_at = now
        self.process.start()

    def died(self, now: float) -> float:
        """Note a death; return the seconds until the next start, which double with each death in
        a row.
        """
        self.deaths = 1 if now - self.started_at > SETTLED_SECONDS else self.deaths + 1
        pause: float = min(
            FIRST_PAUSE_SECONDS * 2 ** min(self.deaths - 1, 10), LONGEST_PAUSE_SECONDS
        )
        self.next_start_at = now + pause
        return pause


class Supervisor:
    """Starts, watches and stops children."""

    def __init__(
        self,
        children: list[Child],
        *,
        say: Callable[[str], None] = print,
        changed: Callable[[dict[str, int]], None] = lambda pids: None,
    ) -> None:
        """Take the children, what to `say` news to, and what to tell the process ids each time
        one has `changed`.
        """
        self.children = sorted(children, key=lambda child: child.stage)
        self._say = say
        self._changed = changed

    def start(self) -> None:
        """Start every child, the lowest stage first."""
        for child in self.children:
            child.start(time.monotonic())
        self._changed(self.pids)

    def run_once(self, now: float) -> int:
        """Start again what has died and has waited long enough; return how many were started."""
        started = sum(self._look_after(child, now) for child in self.children)
        if started:
            self._changed(self.pids)
        return started

    def stop(self) -> None:
        """Stop the highest stage first; all of a stage at once, each with its own patience."""
        by_stage = itertools.groupby(reversed(self.children), key=lambda child: child.stage)
        for _, stage in by_stage:
            _stop_together([child.process for child in stage])
        self._changed(self.pids)

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each child that is up, by name."""
        return {
            child.process.name: child.process.pid for child in self.children if child.process.pid
        }

    def _look_after(self, child: Child, now: float) -> bool:
        if child.process.running:
            return False
        if child.next_start_at is None:
            pause = child.died(now)
            self._say(f"{child.process.name} has died; starting it again in {pause:.1f} s")
        elif now >= child.next_start_at:
            return self._start_again(child, now)
        return False

    def _start_again(self, child: Child, now: float) -> bool:
        try:
            child.start(now)
        except LocalError as error:
            pause = child.died(time.monotonic())
            self._say(
                f"{child.process.name} does not come back, next try in {pause:.1f} s: {error}"
            )
            return False
        return True


def _stop_together(processes: list[Runnable]) -> None:
    with ThreadPoolExecutor(max_workers=len(processes)) as pool:
        list(pool.map(lambda process: process.stop(), processes))
