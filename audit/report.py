"""What an audit found: for each invariant how much was looked at, how much breaks it, and the
first of that.
"""

from collections import Counter
from dataclasses import dataclass, field

from audit.invariant import Invariant, Seen, Violation

__all__ = ["Report", "Verdict"]


@dataclass
class Verdict:
    """What was found about one invariant. `shown` are the first of its violations."""

    invariant: Invariant
    looked_at: Counter[str] = field(default_factory=Counter)
    violations: int = 0
    shown: list[Violation] = field(default_factory=list)
    note: str = ""

    def add(self, violation: Violation, *, limit: int) -> None:
        """Count a violation, and keep it to be shown if there are fewer than `limit` yet."""
        self.violations += 1
        if len(self.shown) < limit:
            self.shown.append(violation)

    def take(self, seen: Seen, *, limit: int) -> None:
        """Count what a check of whole tables has seen."""
        self.looked_at[seen.of] += seen.looked_at
        for violation in seen.violations:
            self.add(violation, limit=limit)


@dataclass
class Report:
    """The verdicts on all invariants, and how many orders there were."""

    verdicts: list[Verdict]
    orders: Counter[str] = field(default_factory=Counter)

    @property
    def violations(self) -> int:
        """How many violations were found, of all invariants."""
        return sum(verdict.violations for verdict in self.verdicts)
