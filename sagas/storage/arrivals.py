"""Arrival rows: which branches of a parallel group have sent their message to the step behind it.

The service of that step keeps a row for each branch in its inbox, under a name of its own. The row
is written once, and has the result of the branch. So a repeated message counts once.

Commit a row before the rows of the saga are read. Of two messages that arrive at the same time, the
later one to commit then finds both. A single transaction would not see the row of the other one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from sagas import sql
from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.definition.results import Facts, results_in
from sagas.storage import inbox_sql
from sagas.storage.registry import Service

__all__ = ["ARRIVED", "Arrived", "arrival_of", "arrived", "is_arrival", "record"]

# The end of the name of an arrival row. No step has such a name.
ARRIVED = ":arrived"

# Record arrivals
# The saga of an old message may be purged. Then no row is written, and the message is parked.
RECORD = """
INSERT INTO {inbox} (saga, saga_started_at, step, state, attempts, error, due_at, message,
                     created_at, updated_at)
SELECT m.saga, m.started_at, m.step, 'done', 1, '', clock_timestamp(), m.stored,
       clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS m(saga uuid, started_at timestamptz, step text, stored jsonb)
 WHERE {not_purged}
 ORDER BY m.saga, m.step
ON CONFLICT (saga, step) DO NOTHING
"""

# Read the arrivals of some sagas
OF_SAGAS = """
SELECT saga, step, message::text FROM {inbox}
 WHERE saga = ANY(%(sagas)s::uuid[]) AND step = ANY(%(steps)s::text[])
"""


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of an arrival row. `result`: the facts of the branch's event, if it has any."""

    result: dict[str, object] | None = None


# For each saga: the branches that have arrived, each with its result or None.
Arrived = Mapping[UUID, Mapping[str, Facts | None]]

_decoder = msgspec.json.Decoder(_Kept)


def arrival_of(branch: str) -> str:
    """Return the name of the arrival row of a branch."""
    return f"{branch}{ARRIVED}"


def is_arrival(step: str) -> bool:
    """Return whether an inbox row with this name is the arrival of a branch, and no step."""
    return step.endswith(ARRIVED)


def record(service: Service, plan: Plan, messages: Iterable[Message]) -> None:
    """Record that the messages of some branches have arrived. The caller commits."""
    rows = [
        {
            "saga": message.saga,
            "started_at": message.started_at,
            "step": arrival_of(message.branch),
            "stored": _Kept(result=_own_result(message)),
        }
        for message in messages
    ]
    params = {"home": plan.home, "rows": sql.json_rows(rows)}
    sql.run(service.alias, inbox_sql.for_service(service, RECORD), params)


def arrived(service: Service, branches: Collection[str], sagas: Sequence[UUID]) -> Arrived:
    """Return the branches of each saga that have arrived. Call it after `record` is committed."""
    names = {arrival_of(branch): branch for branch in branches}
    params = {"sagas": sql.array_literal(sagas), "steps": sql.array_literal(names)}
    statement = OF_SAGAS.format(inbox=service.inbox)

    found: dict[UUID, dict[str, Facts | None]] = {}
    for saga, step, kept in sql.fetch(service.alias, statement, params):
        found.setdefault(saga, {})[names[step]] = _decoder.decode(kept).result
    return found


def _own_result(message: Message) -> dict[str, object] | None:
    result = results_in(message.context).get(message.branch)
    return None if result is None else dict(result)
