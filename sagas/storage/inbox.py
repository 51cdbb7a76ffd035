"""The inbox table: a step runs only for the worker that inserts or takes over its inbox row.

Any other delivery of the same step is ignored. The statements, and a table of row states and
messages, are in `sagas.storage.inbox_sql`.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from sagas.definition.messages import Message, to_json
from sagas.definition.plan import Plan
from sagas.storage import inbox_sql, sql
from sagas.storage.inbox_rows import (
    Claims,
    DueRow,
    FailedAttempt,
    LockedRow,
    StepResult,
    StoredMessage,
)
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

PURGED_REASON = (
    "The saga is older than this service's watermark, so its rows were purged. "
    "The step is not run, because it may be done already."
)


def claim(
    service: Service, step: str, plan: Plan, messages: Sequence[Message], *, final: bool
) -> Claims:
    """Claim a step for each message that has not run it, unless a hold stops it.

    `final`: the caller commits the step in this transaction, so the row becomes `done`. Otherwise
    the row becomes `started` with a lease, and stores its message. A message of a purged saga is
    parked.
    """
    rows = _claim_rows(service, step, plan, messages, final=final)
    attempts = {saga: attempt for saga, attempt, is_held in rows if not is_held}
    held = {saga for saga, _, is_held in rows if is_held}

    if final and held:
        held_messages = [message for message in messages if message.saga in held]
        _store_held_messages(service, step, plan, held_messages)

    without_row = [
        message for message in messages if message.saga not in attempts and message.saga not in held
    ]
    if without_row:
        _park_purged(service, step, plan, without_row)

    return Claims(attempts, held)


def bar(
    service: Service,
    step: str,
    messages: Sequence[Message],
    *,
    reason: str,
    keep_open: bool = False,
) -> set[UUID]:
    """Refuse an action for ever, unless its row is final; return the sagas barred by this call.

    `keep_open`: leave an open row as it is, because an outside system may be doing the action.
    """
    statement = inbox_sql.BAR_UNSTARTED if keep_open else inbox_sql.BAR
    params = {"step": step, "rows": _rows(messages), "error": reason}

    return {saga for (saga,) in _fetch(service, statement, params)}


def sagas_done(service: Service, step: str, sagas: Sequence[UUID]) -> set[UUID]:
    """Return the sagas for which a step is done.

    Call this after `bar`, never in the same statement: a statement that waits for another
    transaction's row lock does not see what that transaction wrote.
    """
    return _sagas_in_state(service, step, sagas, "done")


def sagas_open(service: Service, step: str, sagas: Sequence[UUID]) -> set[UUID]:
    """Return the sagas for which a step is open. Call this after `bar`, like `sagas_done`."""
    return _sagas_in_state(service, step, sagas, "started", "waiting", "held")


def lock_open(service: Service, step: str, sagas: Sequence[UUID]) -> dict[UUID, int]:
    """Lock the open rows of a step; return their attempts by saga.

    An answer for any other row comes too late, and the caller discards it.
    """
    params = {"step": step, "sagas": sql.array_literal(sagas)}

    return dict(_fetch(service, inbox_sql.LOCK_OPEN, params))


def lock(service: Service, step: str, saga: UUID) -> LockedRow | None:
    """Lock the row of a saga's step in any state; return None if there is no row."""
    rows = _fetch(service, inbox_sql.LOCK, {"step": step, "saga": saga})

    for state, attempts, leased, stored, by_hand in rows:
        confirmation = msgspec.json.decode(by_hand) if by_hand else None
        return LockedRow(state, attempts, leased, stored, confirmation)

    return None


def mark_done(service: Service, step: str, saga: UUID, confirmation: msgspec.Struct) -> None:
    """Mark a row that the caller has locked as done, and keep the person's confirmation."""
    params = {"step": step, "saga": saga, "confirmation": to_json(confirmation)}
    _run(service, inbox_sql.MARK_DONE, params)


def record_results(service: Service, step: str, results: Sequence[StepResult]) -> None:
    """Write the results of a step to rows that the caller has claimed or locked."""
    if results:
        _run(service, inbox_sql.RECORD_RESULTS, {"step": step, "rows": to_json(results)})


def reset_attempts(service: Service, step: str, sagas: Sequence[UUID]) -> None:
    """Set the attempts of claimed or locked rows to 0, because waiting is not a failed attempt."""
    params = {"step": step, "sagas": sql.array_literal(sagas)}
    _run(service, inbox_sql.RESET_ATTEMPTS, params)


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

    return {saga for (saga,) in _fetch(service, inbox_sql.COUNT_FAILURES, params)}


def park(
    service: Service, step: str, plan: Plan, messages: Sequence[Message], *, reason: str
) -> None:
    """Keep messages that must not run as open rows, which the relay never sends again."""
    params = {"step": step, "rows": _rows(messages, plan=plan), "error": reason}
    _run(service, inbox_sql.PARK, params)


def claim_due(service: Service, *, limit: int) -> list[DueRow]:
    """Lease up to `limit` open rows that are due to be sent again; the caller sends them."""
    params = {"limit": limit, "lease": settings.SAGA_LEASE_SECONDS}
    rows = _fetch(service, inbox_sql.CLAIM_DUE, params)

    return [
        DueRow(row_id, step, attempts, msgspec.json.decode(stored, type=StoredMessage))
        for row_id, step, attempts, stored in rows
    ]


def release_due(service: Service, due: Sequence[DueRow]) -> None:
    """Make leased rows due at once, because the caller could not send them."""
    ids = sql.array_literal(row.id for row in due)
    _run(service, inbox_sql.RELEASE_DUE, {"ids": ids})


def make_due_now(service: Service, ids: Sequence[int]) -> int:
    """Make waiting rows due now; return how many."""
    return _run(service, inbox_sql.MAKE_DUE_NOW, {"ids": sql.array_literal(ids)})


def _claim_rows(
    service: Service, step: str, plan: Plan, messages: Sequence[Message], *, final: bool
) -> list[tuple[Any, ...]]:
    """Insert or take over one row per message; return (saga, attempt, is held) of each such row.

    Most final rows never need their message, so a final claim does not send the messages along.
    """
    params = {
        "step": step,
        "rows": _rows(messages) if final else _rows(messages, plan=plan),
        "state": "done" if final else "started",
        "open": not final,
        "lease": settings.SAGA_LEASE_SECONDS,
    }

    return _fetch(service, inbox_sql.CLAIM, params)


def _store_held_messages(
    service: Service, step: str, plan: Plan, messages: Sequence[Message]
) -> None:
    results = [
        StepResult(
            saga=message.saga, state="held", stored=StoredMessage(plan=plan, message=message)
        )
        for message in messages
    ]
    record_results(service, step, results)


def _park_purged(service: Service, step: str, plan: Plan, messages: Sequence[Message]) -> None:
    """Park the messages whose saga is purged. The others are duplicates, and are ignored."""
    rows = _fetch(service, inbox_sql.PURGED, {"rows": _rows(messages)})
    purged = {saga for (saga,) in rows}

    if purged:
        purged_messages = [message for message in messages if message.saga in purged]
        park(service, step, plan, purged_messages, reason=PURGED_REASON)


def _sagas_in_state(service: Service, step: str, sagas: Sequence[UUID], *states: str) -> set[UUID]:
    params = {"step": step, "sagas": sql.array_literal(sagas), "states": sql.array_literal(states)}

    return {saga for (saga,) in _fetch(service, inbox_sql.IN_STATE, params)}


def _fetch(service: Service, statement: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return sql.fetch(service.alias, inbox_sql.for_service(service, statement), params)


def _run(service: Service, statement: str, params: Mapping[str, Any]) -> int:
    return sql.run(service.alias, inbox_sql.for_service(service, statement), params)


def _rows(messages: Sequence[Message], *, plan: Plan | None = None) -> str:
    """Return messages as the rows of a statement. With a plan, each row stores its message."""
    return sql.json_rows(_row(message, plan) for message in messages)


def _row(message: Message, plan: Plan | None) -> dict[str, Any]:
    stored = None if plan is None else StoredMessage(plan=plan, message=message)
    return {"saga": message.saga, "started_at": message.started_at, "stored": stored}
