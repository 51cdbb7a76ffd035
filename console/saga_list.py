"""The sagas of all kinds that a person may look for: open, on hold, or in need of attention.

The oldest of each kind come first. A page shows a bounded number of each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from console.failures.grouping import failing_steps
from console.partial_reader import PartialReader
from sagas.kinds import Fact, SagaKind

__all__ = ["SHOWN", "WANTED", "FoundSagas", "ListedSaga", "find_sagas", "instruction"]

# Sagas of one kind that the page lists.
SHOWN = 100

# The choices of the page, with their titles. All are open sagas, which have an index.
WANTED = {
    "attention": "Need attention",
    "open": "Open",
    "held": "Wait at a hold",
}


@dataclass(frozen=True, kw_only=True)
class ListedSaga:
    """One saga in the list. `problem` is its failing step and the error; empty if none fails.

    `is_known`: all services have answered, so that a step that fails would be found.
    """

    id: UUID
    kind: SagaKind
    saga: str
    status: str
    facts: Sequence[Fact]
    since: datetime
    needs_attention: bool
    problem: str
    is_known: bool

    @property
    def page(self) -> str:
        """Return the address of its page."""
        return self.kind.page(self.id)

    @property
    def to_do(self) -> str:
        """Return what a person has to do; empty if nothing."""
        if self.needs_attention and not self.problem and not self.is_known:
            return "Its step may be in a database that does not answer."
        return instruction(self.problem) if self.needs_attention else ""


@dataclass(frozen=True, kw_only=True)
class FoundSagas:
    """The sagas that were found. `unreachable` names the services that did not answer.

    `complete` is False if a kind has more of them than are shown.
    """

    sagas: list[ListedSaga]
    unreachable: list[str]
    complete: bool


def instruction(problem: str) -> str:
    """Return what a person does about a saga that needs attention."""
    if problem:
        return "Remove the cause of the error, then use “Try again now”."
    return "Re-drives did not help. Look at its last step, then use “Publish again”."


def find_sagas(kinds: Iterable[SagaKind], wanted: str) -> FoundSagas:
    """Return the open sagas of some kinds: all, or those on hold or in need of attention."""
    reader = PartialReader()
    found = [
        (kind, row)
        for kind in kinds
        for row in reader.read(kind.home, partial(_rows, kind, wanted))
    ]
    problems = failing_steps([row.pk for _, row in found], reader)
    listed = [
        ListedSaga(
            id=row.pk,
            kind=kind,
            saga=str(row.plan.get("saga", "")),
            status=kind.status(row),
            facts=kind.facts(row),
            since=row.created_at,
            needs_attention=row.needs_attention,
            problem=_problem(problems.get(row.pk)),
            is_known=not reader.unreachable,
        )
        for kind, row in found
    ]
    numbers = [sum(each.kind is kind for each in listed) for kind in {kind for kind, _ in found}]
    return FoundSagas(
        sagas=listed,
        unreachable=reader.unreachable,
        complete=all(number < SHOWN for number in numbers),
    )


def _rows(kind: SagaKind, wanted: str) -> Iterable[Any]:
    rows = kind.rows().filter(ended_at=None)
    if wanted == "attention":
        rows = rows.filter(needs_attention=True)
    elif wanted == "held":
        rows = rows.exclude(on_hold="")
    return rows.order_by("created_at")[:SHOWN]


def _problem(failing: Any) -> str:
    return f"{failing.step}: {failing.error}" if failing else ""
