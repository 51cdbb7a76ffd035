"""Failing steps in groups: by step, and by the error without its ids, times and numbers.

Only the rows that are due soonest are read, by index, so a page costs the same however many rows
fail.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.utils import timezone

from console.dashboard.charts import Chart, sparkline
from console.partial_reader import PartialReader
from console.saga_pages import KindCount, count_by_kind, find_kinds
from sagas import sql
from sagas.kinds import SagaKind
from sagas.observability.error_pattern import normalize
from sagas.storage.registry import get_service, service_names

__all__ = [
    "FailureGroup",
    "Failures",
    "StepFailure",
    "current_failures",
    "failing_steps",
]

# Outside systems that the page names for each failure.
MOST_NAMED = 5

# Open rows of one service that are read.
MOST = 5_000

COLUMNS = "SELECT step, saga, error, attempts, created_at, updated_at, destination FROM {inbox} i"

# A row that waits as agreed has counted no failed attempt, but keeps the reason as its error. A
# started row has counted the attempt that it makes now. Parked rows are never sent again.
OPEN = """state IN ('started', 'waiting') AND error <> ''
   AND (attempts > CASE WHEN state = 'started' THEN 1 ELSE 0 END OR send_at IS NULL)"""

# Rows that wait at an automatic hold, because their step or its outside system fails.
HELD = """state = 'held' AND error <> ''
   AND EXISTS (SELECT 1 FROM {hold} h
                WHERE h.automatic AND i.step IN (h.step, h.calling_step)
                  AND h.destination IN ('', i.destination))"""

DUE_SOONEST = f"""({COLUMNS} WHERE {OPEN} ORDER BY send_at LIMIT %(most)s) UNION ALL
({COLUMNS} WHERE {HELD} ORDER BY step, id LIMIT %(most)s)"""
OF_ORDERS = f"{COLUMNS} WHERE saga = ANY(%(sagas)s::uuid[]) AND ({OPEN} OR {HELD})"


class StepFailure(NamedTuple):
    """The failure of one saga at a step, as its inbox row has it. `last` is its last attempt.

    `destination` is the outside system of the last call; empty if there was none.
    """

    step: str
    saga: UUID
    error: str
    attempts: int
    first: datetime
    last: datetime
    destination: str = ""

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
        """Return the failure in words, without anything that belongs to one saga."""
        return f"{self.step}: {self.pattern}"


@dataclass(kw_only=True)
class FailureGroup:
    """The sagas with the same failure. `error` is the full text of the newest one.

    `kinds`: how many of them are of each kind. `destinations`: how many have called each outside
    system last.
    """

    key: str
    step: str
    pattern: str
    error: str
    first: datetime
    last: datetime
    attempts: int = 0
    sagas: list[UUID] = field(default_factory=list)
    begun: list[datetime] = field(default_factory=list)
    kinds: list[KindCount] = field(default_factory=list)
    destinations: Counter[str] = field(default_factory=Counter)

    @property
    def destinations_text(self) -> str:
        """Return the outside systems with the most sagas, such as `bank/a (7), bank/b (2), …`; or
        nothing.
        """
        counts = sorted(self.destinations.items(), key=lambda item: (-item[1], item[0]))
        named = ", ".join(f"{name} ({number})" for name, number in counts[:MOST_NAMED])
        return named + (", …" if len(counts) > MOST_NAMED else "")

    @property
    def spark(self) -> Chart:
        """Return a small chart of when the sagas began to fail."""
        return sparkline(self.begun, until=timezone.now())

    def add(self, row: StepFailure) -> None:
        """Count one more saga."""
        if row.last >= self.last:
            self.error = row.error
        self.first = min(self.first, row.first)
        self.last = max(self.last, row.last)
        self.attempts = max(self.attempts, row.attempts)
        self.sagas.append(row.saga)
        self.begun.append(row.first)
        if row.destination:
            self.destinations[row.destination] += 1


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The groups, largest first. `complete` is False where more rows fail than were read."""

    groups: list[FailureGroup]
    unreachable: list[str]
    complete: bool

    def get(self, key: str) -> FailureGroup | None:
        """Return a group by its key, or None where no saga fails like that now."""
        return next((group for group in self.groups if group.key == key), None)


def current_failures(shows: Callable[[SagaKind | None, str], bool] | None = None) -> Failures:
    """Group the failing steps of all services.

    `shows` tells of a saga's kind and its step whether the failure is shown; all are by default.
    """
    reader = PartialReader()
    groups: dict[str, FailureGroup] = {}
    failing: list[StepFailure] = []
    complete = True

    for name in service_names():
        rows = _rows(reader, name, DUE_SOONEST, {"most": MOST})
        complete = complete and len(rows) < MOST
        failing += rows

    # The kinds of all failing sagas are looked up in one statement for each kind.
    kinds = find_kinds((row.saga for row in failing), reader)
    _add(groups, [row for row in failing if not shows or shows(kinds.get(row.saga), row.step)])
    for group in groups.values():
        group.kinds = count_by_kind(group.sagas, kinds)
    largest_first = sorted(groups.values(), key=lambda group: len(group.sagas), reverse=True)
    return Failures(groups=largest_first, unreachable=reader.unreachable, complete=complete)


def failing_steps(
    sagas: Sequence[UUID], reader: PartialReader | None = None
) -> dict[UUID, StepFailure]:
    """Return the failing step of each saga; the last attempted, if there are several.

    `reader` names the services that did not answer.
    """
    if not sagas:
        return {}
    reader = reader or PartialReader()
    rows = [
        row
        for name in service_names()
        for row in _rows(reader, name, OF_ORDERS, {"sagas": list(sagas)})
    ]
    return {row.saga: row for row in sorted(rows, key=lambda row: row.last)}


def _rows(
    reader: PartialReader, name: str, statement: str, params: dict[str, object]
) -> list[StepFailure]:
    service = get_service(name)
    query = statement.format(inbox=service.inbox, hold=service.hold)
    rows = reader.read(name, lambda: sql.fetch(service.alias, query, params))
    return [StepFailure(*row) for row in rows]


def _add(groups: dict[str, FailureGroup], rows: Iterable[StepFailure]) -> None:
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
