"""The inbox table: whoever inserts or takes over a row does the step; everyone else does nothing.

Every statement that touches several rows locks them in the order of their saga, so that overlapping
batches never deadlock; undo rows are locked before action rows (see `sagas.execution.runner`).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings

from sagas.definition.messages import Message, to_json
from sagas.definition.plan import Plan
from sagas.storage import sql
from sagas.storage.registry import Service

__all__ = [
    "Claims",
    "DueRow",
    "FailedAttempt",
    "LockedRow",
    "StepResult",
    "StoredMessage",
    "bar",
    "claim",
    "claim_due",
    "count_failures",
    "lock",
    "lock_open",
    "make_due_now",
    "mark_done",
    "park",
    "record_results",
    "release_due",
    "reset_attempts",
    "sagas_done",
    "sagas_open",
]


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What an open row keeps, so that the service's own relay can send the step to itself again."""

    plan: Plan
    message: Message


class Claims(NamedTuple):
    """What came of a claim: the attempt at which each saga of ours is, and the sagas that a hold
    stops from now on.
    """

    attempts: dict[UUID, int]
    held: set[UUID]


class DueRow(NamedTuple):
    """An open row that is due to be sent again."""

    id: int
    step: str
    attempts: int
    stored: StoredMessage


class LockedRow(NamedTuple):
    """A row that the caller has locked.

    `leased`: a worker has claimed the row, and its lease has not run out. `stored` is JSON.
    """

    state: str
    attempts: int
    leased: bool
    stored: str | None
    by_hand: dict[str, Any] | None


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a claimed or locked row becomes.

    `due_in`: seconds until a `waiting` row may be claimed and sent again. An empty `error` leaves
    the one that the row has. A row that stays open needs its `stored` message.
    """

    saga: UUID
    state: str
    error: str = ""
    due_in: float = 0.0
    stored: StoredMessage | None = None


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that failed. `attempt` counts from 1.

    `retry_in`: seconds until the relay sends the step again. With None the relay never does, but
    any other delivery may claim the row at once.
    """

    message: Message
    attempt: int
    error: str
    retry_in: float | None


# What is older than the watermark and not kept was purged: running it would do its step a second
# time.
REMEMBERED = "NOT EXISTS (SELECT 1 FROM {watermark} w WHERE m.started_at < w.before AND NOT m.saga = ANY(w.kept))"

# What is on hold becomes, or stays, `held`: nobody's, with no try counted and no time to be sent
# again.
CLAIM = """
WITH m AS MATERIALIZED (
  SELECT m.saga, m.started_at, m.stored,
         EXISTS (SELECT 1 FROM {hold} h WHERE h.step = %(step)s)
         OR EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = m.saga) AS held
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz, stored jsonb)
)
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, send_at, message, created_at,
                          updated_at)
SELECT m.saga, m.started_at, %(step)s, CASE WHEN m.held THEN 'held' ELSE %(state)s END,
       CASE WHEN m.held THEN 0 ELSE 1 END, '', clock_timestamp() + make_interval(secs => %(lease)s),
       CASE WHEN %(open)s AND NOT m.held THEN clock_timestamp() + make_interval(secs => %(lease)s) END, m.stored,
       clock_timestamp(), clock_timestamp()
  FROM m
 WHERE {remembered}
 ORDER BY m.saga
ON CONFLICT (saga, step) DO UPDATE
   SET state = EXCLUDED.state, attempts = i.attempts + EXCLUDED.attempts, due_at = EXCLUDED.due_at,
       send_at = EXCLUDED.send_at, message = EXCLUDED.message, updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting') AND i.due_at <= clock_timestamp()
    OR i.state = 'held' AND EXCLUDED.state <> 'held'
RETURNING saga, attempts, state = 'held'
"""

FORGOTTEN = """
SELECT m.saga FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz)
 WHERE NOT {remembered}
"""

BAR = """
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s, 'refused', 0, %(error)s, clock_timestamp(), clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz)
 ORDER BY m.saga
ON CONFLICT (saga, step) DO UPDATE
   SET state = 'refused', send_at = NULL, message = NULL, error = EXCLUDED.error, updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting', 'held')
RETURNING saga
"""

# Without what has begun, or is held and may have: an outside system may be doing it.
BAR_UNBEGUN = """
INSERT INTO {inbox} (saga, saga_started_at, step, state, attempts, error, due_at, created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s, 'refused', 0, %(error)s, clock_timestamp(), clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz)
 ORDER BY m.saga
ON CONFLICT (saga, step) DO NOTHING
RETURNING saga
"""

IN_STATE = """
SELECT saga FROM {inbox} WHERE step = %(step)s AND saga = ANY(%(sagas)s::uuid[]) AND state = ANY(%(states)s::text[])
"""

# Held as well: a worker that slept through its lease may have asked before the hold, and its answer
# counts.
LOCK_OPEN = """
SELECT saga, attempts FROM {inbox}
 WHERE step = %(step)s AND saga = ANY(%(sagas)s::uuid[]) AND state IN ('started', 'waiting', 'held')
 ORDER BY saga FOR UPDATE
"""

LOCK = """
SELECT state, attempts, state = 'started' AND due_at > clock_timestamp(), message::text, by_hand::text FROM {inbox}
 WHERE step = %(step)s AND saga = %(saga)s FOR UPDATE
"""

MARK_DONE = """
UPDATE {inbox}
   SET state = 'done', send_at = NULL, message = NULL, by_hand = %(confirmation)s::jsonb, updated_at = clock_timestamp()
 WHERE step = %(step)s AND saga = %(saga)s
"""

RECORD_RESULTS = """
UPDATE {inbox} i
   SET state = v.state, error = CASE WHEN v.error = '' THEN i.error ELSE v.error END,
       due_at = clock_timestamp() + make_interval(secs => v.due_in),
       send_at = CASE WHEN v.state = 'waiting' THEN clock_timestamp() + make_interval(secs => v.due_in) END,
       message = v.stored, updated_at = clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS v(saga uuid, state text, error text, due_in float8, stored jsonb)
 WHERE i.saga = v.saga AND i.step = %(step)s
"""

RESET_ATTEMPTS = (
    "UPDATE {inbox} SET attempts = 0 WHERE step = %(step)s AND saga = ANY(%(sagas)s::uuid[])"
)

# The failed try was number `attempt`. A row that has moved on, or has already counted it, is left
# alone; a row that the first transaction of an external step started has counted it as it was
# claimed. Without a delay the row is never sent again by itself, but whoever brings a message for
# it may claim it at once.
COUNT_FAILURES = """
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, send_at, message, created_at,
                          updated_at)
SELECT m.saga, m.started_at, %(step)s, 'waiting', m.attempt, m.error,
       clock_timestamp() + make_interval(secs => coalesce(m.retry_in, 0)),
       clock_timestamp() + make_interval(secs => m.retry_in), m.stored, clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS m(saga uuid, started_at timestamptz, attempt int, error text, retry_in float8, stored jsonb)
 WHERE {remembered}
 ORDER BY m.saga
ON CONFLICT (saga, step) DO UPDATE
   SET state = 'waiting', attempts = EXCLUDED.attempts, error = EXCLUDED.error, due_at = EXCLUDED.due_at,
       send_at = EXCLUDED.send_at, message = EXCLUDED.message, updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting')
   AND (i.attempts = EXCLUDED.attempts - 1 OR (i.attempts = EXCLUDED.attempts AND i.state = 'started'))
RETURNING saga
"""

PARK = """
INSERT INTO {inbox} (saga, saga_started_at, step, state, attempts, error, due_at, message, created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s, 'waiting', 0, %(error)s, timestamptz '9999-01-01', m.stored,
       clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz, stored jsonb)
 ORDER BY m.saga
ON CONFLICT (saga, step) DO NOTHING
"""

# The relay leases by send_at alone: moving due_at too would make the row look taken to the step
# that is sent.
CLAIM_DUE = """
UPDATE {inbox} SET send_at = clock_timestamp() + make_interval(secs => %(lease)s)
  FROM {relaxed}
 WHERE id = ANY(ARRAY(SELECT id FROM {inbox} WHERE state IN ('started', 'waiting') AND send_at <= now()
                       ORDER BY send_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING id, step, attempts, message::text
"""

RELEASE_DUE = """
UPDATE {inbox} SET send_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT id FROM {inbox} WHERE id = ANY(%(ids)s::bigint[]) AND state IN ('started', 'waiting')
                       ORDER BY saga FOR UPDATE))
"""

# A row that is parked has no time to be sent again, and must not get one.
MAKE_DUE_NOW = """
UPDATE {inbox} SET due_at = clock_timestamp(), send_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT id FROM {inbox} WHERE id = ANY(%(ids)s::bigint[]) AND state = 'waiting'
                         AND send_at IS NOT NULL ORDER BY saga FOR UPDATE))
"""


def claim(
    service: Service, step: str, plan: Plan, messages: Sequence[Message], *, final: bool
) -> Claims:
    """Claim the step for each message that has not had it, and keep those that are on hold.

    `final`: the row is `done` once the caller commits. Otherwise it is `started` under a lease, and
    keeps its message.
    """
    params = {
        "step": step,
        "rows": _rows(messages) if final else _rows(messages, plan=plan),
        "state": "done" if final else "started",
        "open": not final,
        "lease": settings.SAGA_LEASE_SECONDS,
    }
    found = {
        saga: (attempt, held)
        for saga, attempt, held in sql.fetch(service.alias, _on(service, CLAIM), params)
    }
    held = {saga for saga, (_, is_held) in found.items() if is_held}
    if held and final:  # whose rows were not sent along, as the others need none
        kept = [message for message in messages if message.saga in held]
        results = [
            StepResult(saga=one.saga, state="held", stored=StoredMessage(plan=plan, message=one))
            for one in kept
        ]
        record_results(service, step, results)
    if len(found) < len(messages):
        _park_forgotten(
            service, step, plan, [message for message in messages if message.saga not in found]
        )
    return Claims({saga: attempt for saga, (attempt, _) in found.items() if saga not in held}, held)


def bar(
    service: Service,
    step: str,
    messages: Sequence[Message],
    *,
    reason: str,
    keep_open: bool = False,
) -> set[UUID]:
    """Refuse an action for ever unless it is final; return the sagas for which we did.

    `keep_open`: leave an open row as it is, because an outside system may be doing the action.
    """
    params = {"step": step, "rows": _rows(messages), "error": reason}
    return {
        saga
        for (saga,) in sql.fetch(
            service.alias, _on(service, BAR_UNBEGUN if keep_open else BAR), params
        )
    }


def sagas_done(service: Service, step: str, sagas: Sequence[UUID]) -> set[UUID]:
    """Return the sagas for which a step is done.

    Asked in a statement of its own after `bar`: one that had to wait for another's commit would not
    see what it wrote.
    """
    return _in_state(service, step, sagas, "done")


def sagas_open(service: Service, step: str, sagas: Sequence[UUID]) -> set[UUID]:
    """Return the sagas for which a step is open. Asked after `bar`, as `done` is."""
    return _in_state(service, step, sagas, "started", "waiting", "held")


def lock_open(service: Service, step: str, sagas: Sequence[UUID]) -> dict[UUID, int]:
    """Lock the rows of a step that are still open, and return their attempts; answers for the
    others come too late.
    """
    params = {"step": step, "sagas": sql.array_literal(sagas)}
    return dict(sql.fetch(service.alias, _on(service, LOCK_OPEN), params))


def lock(service: Service, step: str, saga: UUID) -> LockedRow | None:
    """Lock the row of a saga's step, whatever its state; None where there is none."""
    rows = sql.fetch(service.alias, _on(service, LOCK), {"step": step, "saga": saga})
    for state, attempts, leased, stored, by_hand in rows:
        return LockedRow(
            state, attempts, leased, stored, msgspec.json.decode(by_hand) if by_hand else None
        )
    return None


def mark_done(service: Service, step: str, saga: UUID, confirmation: msgspec.Struct) -> None:
    """Write to a row that the caller has locked that its step is done, and who confirmed it."""
    sql.run(
        service.alias,
        _on(service, MARK_DONE),
        {"step": step, "saga": saga, "confirmation": to_json(confirmation)},
    )


def record_results(service: Service, step: str, results: Sequence[StepResult]) -> None:
    """Write the results of a step to rows that the caller has claimed or locked."""
    if not results:
        return

    params = {"step": step, "rows": to_json(results)}
    sql.run(service.alias, _on(service, RECORD_RESULTS), params)


def reset_attempts(service: Service, step: str, sagas: Sequence[UUID]) -> None:
    """Forget the tries of rows that the caller has claimed or locked: to wait is none."""
    sql.run(
        service.alias,
        _on(service, RESET_ATTEMPTS),
        {"step": step, "sagas": sql.array_literal(sagas)},
    )


def count_failures(
    service: Service, step: str, plan: Plan, failures: Sequence[FailedAttempt]
) -> set[UUID]:
    """Count failed attempts; return the sagas whose attempt was counted by this call.

    An attempt that was counted before, or whose row has moved on, changes nothing.
    """
    rows = [
        {
            **_row(failure.message, plan),
            "attempt": failure.attempt,
            "error": failure.error,
            "retry_in": failure.retry_in,
        }
        for failure in failures
    ]
    params = {"step": step, "rows": sql.json_rows(rows)}

    return {saga for (saga,) in sql.fetch(service.alias, _on(service, COUNT_FAILURES), params)}


def park(
    service: Service, step: str, plan: Plan, messages: Sequence[Message], *, reason: str
) -> None:
    """Keep messages that must not run, visible and open, and never send them again by
    themselves.
    """
    params = {"step": step, "rows": _rows(messages, plan=plan), "error": reason}
    sql.run(service.alias, _on(service, PARK), params)


def claim_due(service: Service, *, limit: int) -> list[DueRow]:
    """Lease up to `limit` open rows whose time has come; whoever holds the lease sends them."""
    params = {"limit": limit, "lease": settings.SAGA_LEASE_SECONDS}
    rows = sql.fetch(service.alias, _on(service, CLAIM_DUE), params)
    return [
        DueRow(row, step, tries, msgspec.json.decode(stored, type=StoredMessage))
        for row, step, tries, stored in rows
    ]


def release_due(service: Service, due: Sequence[DueRow]) -> None:
    """Give leased rows back at once, so that they need not wait the lease out."""
    sql.run(
        service.alias, _on(service, RELEASE_DUE), {"ids": sql.array_literal(row.id for row in due)}
    )


def make_due_now(service: Service, ids: Sequence[int]) -> int:
    """Make waiting rows due now; return how many."""
    return sql.run(service.alias, _on(service, MAKE_DUE_NOW), {"ids": sql.array_literal(ids)})


def _in_state(service: Service, step: str, sagas: Sequence[UUID], *states: str) -> set[UUID]:
    params = {"step": step, "sagas": sql.array_literal(sagas), "states": sql.array_literal(states)}
    return {saga for (saga,) in sql.fetch(service.alias, _on(service, IN_STATE), params)}


def _park_forgotten(service: Service, step: str, plan: Plan, messages: Sequence[Message]) -> None:
    statement = _on(service, FORGOTTEN)
    forgotten = {saga for (saga,) in sql.fetch(service.alias, statement, {"rows": _rows(messages)})}
    if forgotten:
        reason = "The saga is older than what this service remembers; its step may have been done long ago."
        park(
            service,
            step,
            plan,
            [message for message in messages if message.saga in forgotten],
            reason=reason,
        )


@cache
def _on(service: Service, statement: str) -> str:
    """Return a statement with the names of a service's tables."""
    remembered = REMEMBERED.format(watermark=service.watermark)
    return statement.format(
        inbox=service.inbox, hold=service.hold, remembered=remembered, relaxed=sql.ASYNC_COMMIT
    )


def _rows(messages: Sequence[Message], *, plan: Plan | None = None) -> str:
    """Return messages as rows of a statement; with a plan, as rows that keep what is needed to
    send them again.
    """
    return sql.json_rows(_row(message, plan) for message in messages)


def _row(message: Message, plan: Plan | None) -> dict[str, Any]:
    stored = None if plan is None else StoredMessage(plan=plan, message=message)
    return {"saga": message.saga, "started_at": message.started_at, "stored": stored}
