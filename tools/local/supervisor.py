"""Keep programs running: start them in order, restart dead ones, stop them in reverse order."""

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
# After this uptime a program has recovered, and its next death starts a new series.
SETTLED_SECONDS = 30.0


class Runnable(Protocol):
    """A process that the supervisor can run."""

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
    """A supervised program and the time of its next start."""

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

    def record_death(self, now: float) -> float:
        """Schedule the next start; return the seconds until then.

        The pause doubles with each death in a series.
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
        notify: Callable[[str], None] = print,
        on_change: Callable[[dict[str, int]], None] = lambda pids: None,
    ) -> None:
        """Supervise `children`.

        Calls `notify` with a line for each event, and `on_change` with all process ids after each
        start.
        """
        self.children = sorted(children, key=lambda child: child.stage)
        self._notify = notify
        self._on_change = on_change

    def start(self) -> None:
        """Start every child, the lowest stage first."""
        for child in self.children:
            child.start(time.monotonic())
        self._on_change(self.pids)

    def run_once(self, now: float) -> int:
        """Restart the dead children whose pause is over; return their number."""
        started = sum(self._restart_if_due(child, now) for child in self.children)
        if started:
            self._on_change(self.pids)
        return started

    def stop(self) -> None:
        """Stop the stages from the highest; stop the children of a stage at the same time."""
        by_stage = itertools.groupby(reversed(self.children), key=lambda child: child.stage)
        for _, stage in by_stage:
            _stop_together([child.process for child in stage])
        self._on_change(self.pids)

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each child that is up, by name."""
        return {
            child.process.name: child.process.pid for child in self.children if child.process.pid
        }

    def _restart_if_due(self, child: Child, now: float) -> bool:
        if child.process.running:
            return False

        if child.next_start_at is None:
            pause = child.record_death(now)
            self._notify(f"{child.process.name} has died. Restarting it in {pause:.1f} s.")
        elif now >= child.next_start_at:
            return self._restart(child, now)

        return False

    def _restart(self, child: Child, now: float) -> bool:
        try:
            child.start(now)
        except LocalError as error:
            pause = child.record_death(time.monotonic())
            self._notify(
                f"{child.process.name} did not start. Trying again in {pause:.1f} s. {error}"
            )
            return False

        return True


def _stop_together(processes: list[Runnable]) -> None:
    with ThreadPoolExecutor(max_workers=len(processes)) as pool:
        list(pool.map(lambda process: process.stop(), processes))
