"""What fails, grouped: the open steps that have an error, by step and by what the error says apart
from its numbers.

Only the rows that have waited for their next try longest are looked at, by index, so that a page
costs the same however many there are.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.utils import timezone

from console.dashboard.charts import Chart, sparkline
from console.partial_reader import Asking
from sagas.storage import sql
from sagas.storage.registry import get_service, service_names

__all__ = ["Failing", "Failures", "Group", "failing", "failures", "normalised"]

# Open rows of one service that are looked at.
MOST = 5_000

SELECT = """
SELECT step, saga, error, attempts, created_at, updated_at
  FROM {inbox} WHERE state IN ('started', 'waiting') AND error <> ''
"""
ALL = f"{SELECT} ORDER BY send_at LIMIT %(most)s"
OF = f"{SELECT} AND saga = ANY(%(sagas)s::uuid[])"

# What differs between two orders that fail alike: ids, times, numbers, and whatever else is quoted.
TIMES = re.compile(r"\d{4}-\d\d-\d\d[ T][\d:.]+(?:[+-][\d:]+|Z)?")
IDS = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b\w*[0-9a-f]{16,}\w*\b", re.IGNORECASE
)
NUMBERS = re.compile(r"(?<![A-Za-z_])\d+(?:\.\d+)?")


class Failing(NamedTuple):
    """A step that fails, as its row has it: since when, and when it was last tried."""

    step: str
    saga: UUID
    error: str
    attempts: int
    first: datetime
    last: datetime

    @property
    def shape(self) -> str:
        """Return what its error has in common with others of its kind."""
        return normalised(self.error)

    @property
    def key(self) -> str:
        """Return a short name of all that fail like this, for links and for the log."""
        return hashlib.sha256(f"{self.step} {self.shape}".encode()).hexdigest()[:16]

    @property
    def about(self) -> str:
        """Return in words what fails, without what is this order's own."""
        return f"{self.step}: {self.shape}"


@dataclass(kw_only=True)
class Group:
    """Steps that fail alike. `error` is the newest of theirs, as it was said."""

    key: str
    step: str
    shape: str
    error: str
    first: datetime
    last: datetime
    attempts: int = 0
    sagas: list[UUID] = field(default_factory=list)
    begun: list[datetime] = field(default_factory=list)

    @property
    def spark(self) -> Chart:
        """Draw when they began to fail."""
        return sparkline(self.begun, until=timezone.now())

    def add(self, row: Failing) -> None:
        """Count one more."""
        if row.last >= self.last:
            self.error = row.error
        self.first, self.last = min(self.first, row.first), max(self.last, row.last)
        self.attempts = max(self.attempts, row.attempts)
        self.sagas.append(row.saga)
        self.begun.append(row.first)


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The groups, the largest first; the services that did not answer; and whether all rows were
    looked at.
    """

    groups: list[Group]
    unreachable: list[str]
    complete: bool

    def called(self, key: str) -> Group | None:
        """Return the group of a name, if something still fails like that."""
        return next((group for group in self.groups if group.key == key), None)


def failures() -> Failures:
    """Group what fails now, in all services."""
    asking, groups, complete = Asking(), dict[str, Group](), True
    for name in service_names():
        rows = _rows(asking, name, ALL, {"most": MOST})
        complete = complete and len(rows) < MOST
        _add(groups, rows)
    largest_first = sorted(groups.values(), key=lambda group: len(group.sagas), reverse=True)
    return Failures(groups=largest_first, unreachable=asking.unreachable, complete=complete)


def failing(sagas: Sequence[UUID]) -> dict[UUID, Failing]:
    """Return the step that fails of each of these sagas; of several the one that was tried last."""
    if not sagas:
        return {}
    asking = Asking()
    rows = [
        row for name in service_names() for row in _rows(asking, name, OF, {"sagas": list(sagas)})
    ]
    return {row.saga: row for row in sorted(rows, key=lambda row: row.last)}


def normalised(error: str) -> str:
    """Return what an error has in common with others of its kind: without times, ids and
    numbers.
    """
    for pattern, instead in ((TIMES, "{time}"), (IDS, "{id}"), (NUMBERS, "{n}")):
        error = pattern.sub(instead, error)
    return error


def _rows(asking: Asking, name: str, statement: str, params: dict[str, object]) -> list[Failing]:
    service = get_service(name)
    written = statement.format(inbox=service.inbox)
    return [
        Failing(*row) for row in asking.ask(name, lambda: sql.fetch(service.alias, written, params))
    ]


def _add(groups: dict[str, Group], rows: Iterable[Failing]) -> None:
    for row in rows:
        shape, key = row.shape, row.key
        new = Group(
            key=key, step=row.step, shape=shape, error=row.error, first=row.first, last=row.last
        )
        groups.setdefault(key, new).add(row)
