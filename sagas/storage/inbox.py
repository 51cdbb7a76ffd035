"""The inbox table: whoever inserts or takes over a row does the step; everyone else does nothing.

Every statement that touches several rows locks them in the order of their saga, so that overlapping
batches never deadlock; undo rows are locked before action rows (see `sagas.execution.runner`).
"""

from collections.abc import Mapping, Sequence
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
    "Due",
    "Locked",
    "StoredMessage",
    "bar",
    "claim",
    "claim_due",
    "count_failure",
    "lock",
    "lock_open",
    "make_due_now",
    "mark_done",
    "park",
    "release_due",
    "reset_attempts",
    "sagas_done",
    "sagas_open",
    "settle",
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


class Due(NamedTuple):
    """An open row whose time to be sent again has come."""

    id: int
    step: str
    attempts: int
    parcel: StoredMessage


class Locked(NamedTuple):
    """A row under lock. `leased`: a worker has claimed it, and its lease is not over. `parcel`
    is JSON.
    """

    state: str
    attempts: int
    leased: bool
    parcel: str | None
    by_hand: dict[str, Any] | None


# What is older than the watermark and not kept was purged: running it would do its step a second
# time.
REMEMBERED = "NOT EXISTS (SELECT 1 FROM {watermark} w WHERE m.started_at < w.before AND NOT m.saga = ANY(w.kept))"

# What is on hold becomes, or stays, `held`: nobody's, with no try counted and no time to be sent
# again.
CLAIM = """
WITH m AS MATERIALIZED (
  SELECT m.saga, m.started_at, m.parcel,
         EXISTS (SELECT 1 FROM {hold} h WHERE h.step = %(step)s)
         OR EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = m.saga) AS held
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz, parcel jsonb)
)
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, send_at, message, created_at,
                          updated_at)
SELECT m.saga, m.started_at, %(step)s, CASE WHEN m.held THEN 'held' ELSE %(state)s END,
       CASE WHEN m.held THEN 0 ELSE 1 END, '', clock_timestamp() + make_interval(secs => %(lease)s),
       CASE WHEN %(open)s AND NOT m.held THEN clock_timestamp() + make_interval(secs => %(lease)s) END, m.parcel,
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
   SET state = 'done', send_at = NULL, message = NULL, by_hand = %(word)s::jsonb, updated_at = clock_timestamp()
 WHERE step = %(step)s AND saga = %(saga)s
"""

SETTLE = """
UPDATE {inbox} i
   SET state = v.state, error = CASE WHEN v.error = '' THEN i.error ELSE v.error END,
       due_at = clock_timestamp() + make_interval(secs => v.delay),
       send_at = CASE WHEN v.state = 'waiting' THEN clock_timestamp() + make_interval(secs => v.delay) END,
       message = v.parcel, updated_at = clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS v(saga uuid, state text, error text, delay float8, parcel jsonb)
 WHERE i.saga = v.saga AND i.step = %(step)s
"""

RESET_ATTEMPTS = (
    "UPDATE {inbox} SET attempts = 0 WHERE step = %(step)s AND saga = ANY(%(sagas)s::uuid[])"
)

# The failed try was number `attempt`. A row that has moved on, or has already counted it, is left
# alone; a row that the first transaction of an external step started has counted it as it was
# claimed. Without a delay the row is never sent again by itself, but whoever brings a message for
# it may claim it at once.
COUNT_FAILURE = """
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, send_at, message, created_at,
                          updated_at)
SELECT m.saga, m.started_at, %(step)s, 'waiting', m.attempt, m.error,
       clock_timestamp() + make_interval(secs => coalesce(m.delay, 0)),
       clock_timestamp() + make_interval(secs => m.delay), m.parcel, clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS m(saga uuid, started_at timestamptz, attempt int, error text, delay float8, parcel jsonb)
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
SELECT m.saga, m.started_at, %(step)s, 'waiting', 0, %(error)s, timestamptz '9999-01-01', m.parcel,
       clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz, parcel jsonb)
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
        settle(
            service,
            step,
            [(one.saga, "held", "", 0.0, StoredMessage(plan=plan, message=one)) for one in kept],
        )
    if len(found) < len(messages):
        _park_forgotten(
            service, step, plan, [message for message in messages if message.saga not in found]
        )
    return Claims({saga: attempt for saga, (attempt, _) in found.items() if saga not in held}, held)


def bar(
    service: Service, step: str, messages: Sequence[Message], *, reason: str, begun: bool = True
) -> set[UUID]:
    """Refuse an action for ever unless it is final; return the sagas for which we did.

    Without `begun`, an open row is left alone as well: it is decided by what has begun there.
    """
    params = {"step": step, "rows": _rows(messages), "error": reason}
    return {
        saga
        for (saga,) in sql.fetch(service.alias, _on(service, BAR if begun else BAR_UNBEGUN), params)
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


def lock(service: Service, step: str, saga: UUID) -> Locked | None:
    """Lock the row of a saga's step, whatever its state; None where there is none."""
    rows = sql.fetch(service.alias, _on(service, LOCK), {"step": step, "saga": saga})
    for state, attempts, leased, parcel, by_hand in rows:
        return Locked(
            state, attempts, leased, parcel, msgspec.json.decode(by_hand) if by_hand else None
        )
    return None


def mark_done(service: Service, step: str, saga: UUID, word: msgspec.Struct) -> None:
    """Write to a row that the caller has locked that its step is done, and by whose word."""
    sql.run(
        service.alias, _on(service, MARK_DONE), {"step": step, "saga": saga, "word": to_json(word)}
    )


def settle(
    service: Service, step: str, rows: Sequence[tuple[UUID, str, str, float, StoredMessage | None]]
) -> None:
    """Write (saga, state, error, seconds until due, parcel) to rows that the caller has claimed
    or locked.
    """
    if not rows:
        return
    written = [
        dict(zip(("saga", "state", "error", "delay", "parcel"), row, strict=True)) for row in rows
    ]
    params = {"step": step, "rows": sql.json_rows(written)}
    sql.run(service.alias, _on(service, SETTLE), params)


def reset_attempts(service: Service, step: str, sagas: Sequence[UUID]) -> None:
    """Forget the tries of rows that the caller has claimed or locked: to wait is none."""
    sql.run(
        service.alias,
        _on(service, RESET_ATTEMPTS),
        {"step": step, "sagas": sql.array_literal(sagas)},
    )


def count_failure(
    service: Service,
    step: str,
    plan: Plan,
    failures: Mapping[UUID, tuple[Message, int, str, float | None]],
) -> set[UUID]:
    """Count one failed try of each (message, attempt, error, seconds until the next or None);
    return what counted.
    """
    rows = [
        {**_row(message, plan), "attempt": attempt, "error": error, "delay": delay}
        for message, attempt, error, delay in failures.values()
    ]
    params = {"step": step, "rows": sql.json_rows(rows)}
    statement = _on(service, COUNT_FAILURE)
    return {saga for (saga,) in sql.fetch(service.alias, statement, params)}


def park(
    service: Service, step: str, plan: Plan, messages: Sequence[Message], *, reason: str
) -> None:
    """Keep messages that must not run, visible and open, and never send them again by
    themselves.
    """
    params = {"step": step, "rows": _rows(messages, plan=plan), "error": reason}
    sql.run(service.alias, _on(service, PARK), params)


def claim_due(service: Service, *, limit: int) -> list[Due]:
    """Lease up to `limit` open rows whose time has come; whoever holds the lease sends them."""
    params = {"limit": limit, "lease": settings.SAGA_LEASE_SECONDS}
    rows = sql.fetch(service.alias, _on(service, CLAIM_DUE), params)
    return [
        Due(row, step, tries, msgspec.json.decode(parcel, type=StoredMessage))
        for row, step, tries, parcel in rows
    ]


def release_due(service: Service, due: Sequence[Due]) -> None:
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
    parcel = None if plan is None else StoredMessage(plan=plan, message=message)
    return {"saga": message.saga, "started_at": message.started_at, "parcel": parcel}
