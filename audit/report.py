"""The result of an audit: for each invariant, how much was checked and which rows break it."""

from collections import Counter
from dataclasses import dataclass, field

from audit.invariant_types import Invariant, TableResult, Violation

__all__ = ["Report", "Verdict"]


@dataclass
class Verdict:
    """The result for one invariant. `shown` has the first of its violations, up to a limit."""

    invariant: Invariant
    checked: Counter[str] = field(default_factory=Counter)
    violations: int = 0
    shown: list[Violation] = field(default_factory=list)
    note: str = ""

    def add(self, violation: Violation, *, limit: int) -> None:
        """Count a violation. Keep it in `shown` if that has fewer than `limit`."""
        self.violations += 1
        if len(self.shown) < limit:
            self.shown.append(violation)

    def add_result(self, result: TableResult, *, limit: int) -> None:
        """Count the rows and the violations of a check of whole tables."""
        self.checked[result.unit] += result.checked
        for violation in result.violations:
            self.add(violation, limit=limit)


@dataclass
class Report:
    """The verdicts on all invariants, and the number of orders: ended, open, and purged.

    `sagas` has the same numbers of each other kind, by its name in the plural.
    """

    verdicts: list[Verdict]
    orders: Counter[str] = field(default_factory=Counter)
    sagas: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def violations(self) -> int:
        """The number of violations of all invariants."""
        return sum(verdict.violations for verdict in self.verdicts)
