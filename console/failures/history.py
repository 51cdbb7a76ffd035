"""Past runs against one failure, and how many of their sagas ended.

Read from the log, which outlives the runs: an entry about a saga keeps the failure that the saga
had when the run acted on it. The run helped a saga that has ended since, unless a later run acted
on it for the same failure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from console.failures.grouping import failing_steps
from console.partial_reader import PartialReader
from sagas import sql
from sagas.kinds import SagaKind, all_kinds
from staff.policy import label_of

__all__ = ["PastRun", "past_runs"]

# Log entries about one failure that are read, newest first: more than a person looks through.
MOST = 2_000

LOG_OF_FAILURE = """
SELECT acted.run, acted.who, acted.action, acted.why, acted.at, acted.about, acted.order_id,
       r.id IS NOT NULL,
       EXISTS (SELECT 1 FROM console_logentry later
                WHERE later.order_id = acted.order_id AND later.failure = acted.failure
                  AND later.at > acted.at)
  FROM (SELECT * FROM console_logentry WHERE failure = %(failure)s AND failure <> ''
         ORDER BY id DESC LIMIT %(most)s) acted
  LEFT JOIN console_run r ON r.id = acted.run
 ORDER BY acted.id DESC
"""


class _LogRow(NamedTuple):
    run: UUID
    who: str
    action: str
    why: str
    at: datetime
    about: str
    order: UUID
    run_exists: bool
    acted_on_again: bool
    ended: bool


@dataclass(kw_only=True)
class PastRun:
    """One run against a failure, with its sagas: how many, how many ended, how many failed again.

    `run_exists` is False where the run itself has been purged.
    """

    run: UUID
    who: str
    action: str
    why: str
    at: datetime
    about: str
    run_exists: bool
    orders: int = 0
    ended: int = 0
    failed_again: int = 0

    @property
    def open(self) -> int:
        """Return how many sagas have neither ended nor failed again yet."""
        return self.orders - self.ended - self.failed_again


def past_runs(failure: str) -> list[PastRun]:
    """Return the runs against a failure, newest first, as their sagas are now."""
    fetched = sql.fetch("default", LOG_OF_FAILURE, {"failure": failure, "most": MOST})
    ended = _ended({row[6] for row in fetched})
    rows = [_LogRow._make((*row, row[6] in ended)) for row in fetched]
    return _by_run(rows, last_attempts=_last_attempts(failure, rows))


def _ended(sagas: set[UUID]) -> set[UUID]:
    """Return the sagas that have ended, of every kind."""
    reader = PartialReader()
    return {
        saga for kind in all_kinds() for saga in reader.read(kind.home, partial(_of, kind, sagas))
    }


def _of(kind: SagaKind, sagas: set[UUID]) -> list[UUID]:
    ended = kind.rows().filter(pk__in=sagas, ended_at__isnull=False)
    return list(ended.values_list("pk", flat=True))


def _last_attempts(failure: str, rows: Iterable[_LogRow]) -> dict[UUID, datetime]:
    """Return the last attempt of each saga that still has this failure."""
    failing = failing_steps([row.order for row in rows if not row.ended])
    return {order: step.last for order, step in failing.items() if step.key == failure}


def _by_run(rows: Iterable[_LogRow], *, last_attempts: dict[UUID, datetime]) -> list[PastRun]:
    runs: dict[UUID, PastRun] = {}
    for row in rows:
        attempted_since = row.order in last_attempts and last_attempts[row.order] > row.at
        failed_again = row.acted_on_again or attempted_since

        past = runs.setdefault(row.run, _new_past_run(row))
        past.orders += 1
        past.failed_again += failed_again
        past.ended += row.ended and not failed_again
    return list(runs.values())


def _new_past_run(row: _LogRow) -> PastRun:
    return PastRun(
        run=row.run,
        who=row.who,
        action=label_of(row.action),
        why=row.why,
        at=row.at,
        about=row.about,
        run_exists=row.run_exists,
    )
