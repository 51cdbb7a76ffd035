"""What fails, grouped: the open steps that have an error, by step and by what the error says apart from its numbers.

Only the rows that have waited for their next try longest are looked at, by index, so that a page costs the same
however many there are.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from sagas import sql
from sagas.services import Service, service_called, service_names

__all__ = ["Failures", "Group", "failures", "normalised"]

# Open rows of one service that are looked at.
MOST = 5_000

FAILING = """
SELECT step, saga, error, attempts, created_at, updated_at
  FROM {inbox} WHERE state IN ('started', 'waiting') AND error <> '' ORDER BY send_at LIMIT %(most)s
"""

# What differs between two orders that fail alike: ids, times, numbers, and whatever else is quoted.
TIMES = re.compile(r"\d{4}-\d\d-\d\d[ T][\d:.]+(?:[+-][\d:]+|Z)?")
IDS = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b\w*[0-9a-f]{16,}\w*\b", re.IGNORECASE)
NUMBERS = re.compile(r"(?<![A-Za-z_])\d+(?:\.\d+)?")


@dataclass(kw_only=True)
class Group:
    """Steps that fail alike. `error` is the newest of theirs, as it was said; `shape` what they have in common."""

    step: str
    shape: str
    error: str
    first: datetime
    last: datetime
    attempts: int = 0
    sagas: list[UUID] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Return a short name for links."""
        return hashlib.sha256(f"{self.step} {self.shape}".encode()).hexdigest()[:16]

    def add(self, saga: UUID, error: str, attempts: int, *, first: datetime, last: datetime) -> None:
        """Count one more."""
        if last >= self.last:
            self.error = error
        self.first, self.last = min(self.first, first), max(self.last, last)
        self.attempts = max(self.attempts, attempts)
        self.sagas.append(saga)


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The groups, the largest first; the services that did not answer; and whether all rows were looked at."""

    groups: list[Group]
    unreachable: list[str]
    complete: bool

    def called(self, key: str) -> Group | None:
        """Return the group of a name, if something still fails like that."""
        return next((group for group in self.groups if group.key == key), None)


def failures() -> Failures:
    """Group what fails now, in all services."""
    groups: dict[tuple[str, str], Group] = {}
    unreachable, complete = [], True
    for name in service_names():
        try:
            rows = _rows(service_called(name))
        except (DatabaseError, InterfaceError):
            unreachable.append(name)
            continue
        complete = complete and len(rows) < MOST
        _add(groups, rows)
    largest_first = sorted(groups.values(), key=lambda group: len(group.sagas), reverse=True)
    return Failures(groups=largest_first, unreachable=unreachable, complete=complete)


def normalised(error: str) -> str:
    """Return what an error has in common with others of its kind: without times, ids and numbers."""
    for pattern, instead in ((TIMES, "{time}"), (IDS, "{id}"), (NUMBERS, "{n}")):
        error = pattern.sub(instead, error)
    return error


Row = tuple[str, UUID, str, int, datetime, datetime]


def _rows(service: Service) -> list[Row]:
    found: Iterable[Row] = sql.fetch(service.alias, FAILING.format(inbox=service.inbox), {"most": MOST})
    return list(found)


def _add(groups: dict[tuple[str, str], Group], rows: Iterable[Row]) -> None:
    for step, saga, error, attempts, first, last in rows:
        shape = normalised(error)
        new = Group(step=step, shape=shape, error=error, first=first, last=last)
        groups.setdefault((step, shape), new).add(saga, error, attempts, first=first, last=last)
