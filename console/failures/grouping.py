"""Failing steps in groups: by step, and by the error without its ids, times and numbers.

Only the rows that are due soonest are read, by index, so a page costs the same however many rows
fail.
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
from console.partial_reader import PartialReader
from sagas.storage import sql
from sagas.storage.registry import get_service, service_names

__all__ = [
    "FailingStep",
    "FailureGroup",
    "Failures",
    "current_failures",
    "failing_steps",
    "normalize",
]

# Open rows of one service that are read.
MOST = 5_000

# A row that waits as agreed has counted no failed attempt, but keeps the reason as its error. A
# started row has counted the attempt that it makes now. Parked rows are never sent again.
FAILING = """
SELECT step, saga, error, attempts, created_at, updated_at
  FROM {inbox} WHERE state IN ('started', 'waiting') AND error <> ''
   AND (attempts > CASE WHEN state = 'started' THEN 1 ELSE 0 END OR send_at IS NULL)
"""
DUE_SOONEST = f"{FAILING} ORDER BY send_at LIMIT %(most)s"
OF_ORDERS = f"{FAILING} AND saga = ANY(%(sagas)s::uuid[])"

# The parts of an error that differ between orders with the same failure.
TIMES = re.compile(r"\d{4}-\d\d-\d\d[ T][\d:.]+(?:[+-][\d:]+|Z)?")
IDS = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b\w*[0-9a-f]{16,}\w*\b", re.IGNORECASE
)
NUMBERS = re.compile(r"(?<![A-Za-z_])\d+(?:\.\d+)?")


class FailingStep(NamedTuple):
    """A failing step of one order, as its inbox row has it. `last` is its last attempt."""

    step: str
    saga: UUID
    error: str
    attempts: int
    first: datetime
    last: datetime

    @property
    def pattern(self) -> str:
        """Return the error without its ids, times and numbers."""
        return normalize(self.error)

    @property
    def key(self) -> str:
        """Return the key of the failure, which links and the log use."""
        return hashlib.sha256(f"{self.step} {self.pattern}".encode()).hexdigest()[:16]

    @property
    def about(self) -> str:
        """Return the failure in words, without anything that belongs to one order."""
        return f"{self.step}: {self.pattern}"


@dataclass(kw_only=True)
class FailureGroup:
    """The orders with the same failure. `error` is the full text of the newest one."""

    key: str
    step: str
    pattern: str
    error: str
    first: datetime
    last: datetime
    attempts: int = 0
    sagas: list[UUID] = field(default_factory=list)
    begun: list[datetime] = field(default_factory=list)

    @property
    def spark(self) -> Chart:
        """Return a small chart of when the orders began to fail."""
        return sparkline(self.begun, until=timezone.now())

    def add(self, row: FailingStep) -> None:
        """Count one more order."""
        if row.last >= self.last:
            self.error = row.error
        self.first = min(self.first, row.first)
        self.last = max(self.last, row.last)
        self.attempts = max(self.attempts, row.attempts)
        self.sagas.append(row.saga)
        self.begun.append(row.first)


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The groups, largest first. `complete` is False where more rows fail than were read."""

    groups: list[FailureGroup]
    unreachable: list[str]
    complete: bool

    def get(self, key: str) -> FailureGroup | None:
        """Return a group by its key, or None where no order fails like that now."""
        return next((group for group in self.groups if group.key == key), None)


def current_failures() -> Failures:
    """Group the failing steps of all services."""
    reader = PartialReader()
    groups: dict[str, FailureGroup] = {}
    complete = True

    for name in service_names():
        rows = _rows(reader, name, DUE_SOONEST, {"most": MOST})
        complete = complete and len(rows) < MOST
        _add(groups, rows)

    largest_first = sorted(groups.values(), key=lambda group: len(group.sagas), reverse=True)
    return Failures(groups=largest_first, unreachable=reader.unreachable, complete=complete)


def failing_steps(sagas: Sequence[UUID]) -> dict[UUID, FailingStep]:
    """Return the failing step of each saga; the last attempted, if there are several."""
    if not sagas:
        return {}
    reader = PartialReader()
    rows = [
        row
        for name in service_names()
        for row in _rows(reader, name, OF_ORDERS, {"sagas": list(sagas)})
    ]
    return {row.saga: row for row in sorted(rows, key=lambda row: row.last)}


def normalize(error: str) -> str:
    """Return an error with placeholders for its times, ids and numbers."""
    for pattern, placeholder in ((TIMES, "{time}"), (IDS, "{id}"), (NUMBERS, "{n}")):
        error = pattern.sub(placeholder, error)
    return error


def _rows(
    reader: PartialReader, name: str, statement: str, params: dict[str, object]
) -> list[FailingStep]:
    service = get_service(name)
    query = statement.format(inbox=service.inbox)
    rows = reader.read(name, lambda: sql.fetch(service.alias, query, params))
    return [FailingStep(*row) for row in rows]


def _add(groups: dict[str, FailureGroup], rows: Iterable[FailingStep]) -> None:
    for row in rows:
        key = row.key
        if key not in groups:
            groups[key] = FailureGroup(
                key=key,
                step=row.step,
                pattern=row.pattern,
                error=row.error,
                first=row.first,
                last=row.last,
            )
        groups[key].add(row)
