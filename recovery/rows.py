"""The statements that write rebuilt rows of the engine's tables, many rows at a time.

Each repeats without effect: a row that exists is left as it is, and a final inbox row is never
changed.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction

from sagas import sql
from sagas.definition.messages import to_json
from sagas.definition.plan import Plan
from sagas.storage.registry import get_service

__all__ = ["EntryToDelete", "InboxState", "RebuiltEvent", "delete_entries", "set_states", "write"]

# An event of a saga that has ended was sent long ago. Any other event is due again, because its
# message may have been lost as well; a receiver that has done its step ignores it.
INSERT_EVENTS = """
INSERT INTO {outbox} (id, saga, saga_started_at, seq, type, step, step_attempt, data, context, plan,
                      target, headers, created_at, due_at, published_at, attempts, last_error)
SELECT r.id, r.saga, r.started_at, r.seq, r.type, r.step, r.attempt, r.data, r.context, r.plan,
       r.target, r.headers, r.at, clock_timestamp(),
       CASE WHEN r.sent THEN clock_timestamp() END, 0, ''
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(id uuid, saga uuid, started_at timestamptz, seq int, type text, step text, attempt int,
         data jsonb, context jsonb, plan jsonb, target text, headers jsonb, at timestamptz,
         sent boolean)
ON CONFLICT (id) DO NOTHING
"""

SET_STATES = """
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, created_at,
                          updated_at)
SELECT r.saga, r.started_at, r.step, r.state, r.attempts, r.error, clock_timestamp(),
       clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(saga uuid, started_at timestamptz, step text, state text, attempts int, error text)
 ORDER BY r.saga, r.step
ON CONFLICT (saga, step) DO UPDATE
   SET state = EXCLUDED.state, error = EXCLUDED.error, send_at = NULL, message = NULL,
       updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting', 'held')
"""

DELETE_ENTRIES = "DELETE FROM orders_timelineevent WHERE id = ANY(%(ids)s::uuid[])"


class RebuiltEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An outbox row to insert. `sent`: its saga has ended, so it need not be sent again."""

    id: UUID
    saga: UUID
    started_at: Any
    seq: int
    type: str
    step: str
    attempt: int
    data: dict[str, Any]
    context: dict[str, Any]
    plan: Plan
    target: str | None
    headers: dict[str, str]
    at: Any
    sent: bool


class InboxState(msgspec.Struct, frozen=True, kw_only=True):
    """The final state of a step's inbox row."""

    saga: UUID
    started_at: Any
    step: str
    state: str
    attempts: int = 1
    error: str = ""


class EntryToDelete(msgspec.Struct, frozen=True):
    """A timeline entry whose event is lost, and whose step has written another event since."""

    id: UUID


@cache
def write(service: str) -> Any:
    """Return the function that inserts rebuilt events into the outbox of a service."""

    def insert(rows: Sequence[RebuiltEvent]) -> None:
        _run(service, INSERT_EVENTS, rows)

    return insert


@cache
def set_states(service: str) -> Any:
    """Return the function that sets the states of inbox rows of a service."""

    def set_(rows: Sequence[InboxState]) -> None:
        _run(service, SET_STATES, rows)

    return set_


def delete_entries(rows: Sequence[EntryToDelete]) -> None:
    """Delete timeline entries."""
    with transaction.atomic(using="default"):
        sql.run("default", DELETE_ENTRIES, {"ids": [row.id for row in rows]})


def _run(service: str, statement: str, rows: Sequence[msgspec.Struct]) -> None:
    tables = get_service(service)
    with transaction.atomic(using=tables.alias):
        text = statement.format(outbox=tables.outbox, inbox=tables.inbox)
        sql.run(tables.alias, text, {"rows": to_json(rows)})
