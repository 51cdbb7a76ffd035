"""The time that a task may work on a reconciliation."""

import math
import time
from collections.abc import Callable

__all__ = ["Budget", "BudgetSpent"]


class BudgetSpent(Exception):
    """The task has used up its time. A later task goes on."""


class Budget:
    """The seconds that a task may work, from now on. Any thread may check it."""

    def __init__(
        self, seconds: float = math.inf, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.seconds = seconds
        self.end = clock() + seconds

    def check(self) -> None:
        """Raise BudgetSpent if the time is used up."""
        if not self.allows(0.0):
            raise BudgetSpent

    def allows(self, seconds: float) -> bool:
        """Tell whether this many seconds are left."""
        return self.clock() + seconds <= self.end
