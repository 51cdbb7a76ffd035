"""What was done before about steps that failed alike, and whether it helped.

From the log, which outlives the runs: each order that a run acted on stands there with what failed
for it at that moment. It helped where the order has ended and was not acted on for the same failure
again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from console.failures.grouping import failing
from console.models import Action
from sagas.storage import sql

__all__ = ["Past", "history_of"]

# Entries of the log about one failure that are looked at, the newest first: more than a person
# reads about.
MOST = 2_000

ACTED = """
SELECT acted.run, acted.who, acted.action, acted.why, acted.at, acted.about, acted.order_id, r.id IS NOT NULL,
       o.ended_at IS NOT NULL,
       EXISTS (SELECT 1 FROM console_logentry later
                WHERE later.order_id = acted.order_id AND later.failure = acted.failure AND later.at > acted.at)
  FROM (SELECT * FROM console_logentry WHERE failure = %(failure)s AND failure <> '' ORDER BY id DESC LIMIT %(most)s)
       acted
  LEFT JOIN orders_order o ON o.id = acted.order_id
  LEFT JOIN console_run r ON r.id = acted.run
 ORDER BY acted.id DESC
"""


class _Acted(NamedTuple):
    run: UUID
    who: str
    action: str
    why: str
    at: datetime
    about: str
    order: UUID
    kept: bool
    ended: bool
    again: bool


@dataclass(kw_only=True)
class Past:
    """One run about a failure: to how many orders it was done, how many of them ended, how many
    failed alike again.

    `kept`: the run itself is still there to be looked at.
    """

    run: UUID
    who: str
    action: str
    why: str
    at: datetime
    about: str
    kept: bool
    orders: int = 0
    ended: int = 0
    again: int = 0

    @property
    def open(self) -> int:
        """Return how many have neither ended nor failed again yet."""
        return self.orders - self.ended - self.again


def history_of(failure: str) -> list[Past]:
    """Return what was done about a failure, the newest first, and what came of it until now."""
    rows = [_Acted(*row) for row in sql.fetch("default", ACTED, {"failure": failure, "most": MOST})]
    return _by_run(rows, still=_still(failure, rows))


def _still(failure: str, rows: Iterable[_Acted]) -> dict[UUID, datetime]:
    """Return when those that fail like this to this day were last tried."""
    found = failing([row.order for row in rows if not row.ended])
    return {saga: step.last for saga, step in found.items() if step.key == failure}


def _by_run(rows: Iterable[_Acted], *, still: dict[UUID, datetime]) -> list[Past]:
    runs: dict[UUID, Past] = {}
    for row in rows:
        past = runs.setdefault(row.run, _begun(row))
        again = row.again or (row.order in still and still[row.order] > row.at)
        past.orders += 1
        past.again += again
        past.ended += row.ended and not again
    return list(runs.values())


def _begun(row: _Acted) -> Past:
    return Past(
        run=row.run,
        who=row.who,
        action=Action(row.action).label,
        why=row.why,
        at=row.at,
        about=row.about,
        kept=row.kept,
    )
