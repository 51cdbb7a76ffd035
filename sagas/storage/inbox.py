"""The inbox table: a step runs only for the worker that inserts or takes over its inbox row.

Any other delivery of the same step is ignored. The statements, and a table of row states and
messages, are in `sagas.storage.inbox_sql`.

A claim of a step that is not finished in the same transaction has a token, a random id. The row
keeps it, with the database session of the claim, while it is `started`. So a run acts on its own
claim only, and the claim of a lost process is freed before its lease is over.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec

from sagas import sql
from sagas.conf import settings
from sagas.definition.messages import Message, Unreadable, decode_each, to_json
from sagas.definition.plan import Plan
from sagas.definition.sizes import MOST_CHARACTERS_OF_ERROR
from sagas.storage import call_limits, destination_holds, inbox_lease_sql, inbox_sql
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
    "excuse",
    "extend",
    "free_lost",
    "has_due",
    "hold_calls",
    "lock",
    "lock_open",
    "locked",
    "make_due_now",
    "mark_done",
    "park",
    "postpone",
    "record_results",
    "release_due",
    "reset_attempts",
    "sagas_done",
    "sagas_open",
]

logger = logging.getLogger(__name__)

# Milliseconds for which each statement of a step's transaction waits for a lock. A transaction of
# another worker has usually ended by then.
LOCK_WAIT_MS = 1_000

# The most rows that one call of `free_lost` frees.
MOST_FREED = 1_000

# The leases after which a message that no worker has taken counts as lost, even while its queue is
# long. So the rescue of a saga does not depend on the backlog of others.
LEASES_UNTIL_LOST = 10

PURGED_REASON = (
    "The saga is older than this service's watermark, so its rows were purged. "
    "The step is not run, because it may be done already."
)


def claim(
    service: Service,
    step: str,
    plan: Plan,
    messages: Sequence[Message],
    *,
    final: bool,
    lock_wait_ms: int = LOCK_WAIT_MS,
) -> Claims:
    """Claim a step for each message that has not run it, unless a hold stops it.

    `final`: the caller commits the step in this transaction, so the row becomes `done`. Otherwise
    the row becomes `started` with a lease, a token and this database session, and stores its
    message. A message of a purged saga is parked. From here on, each statement of the transaction
    waits for a lock at most `lock_wait_ms` milliseconds.
    """
    token = None if final else uuid4()
    rows = _claim_rows(service, step, plan, messages, token=token, lock_wait_ms=lock_wait_ms)
    attempts = {saga: attempt for saga, attempt, _, is_held, *_ in rows if not is_held}
    uncounted = {saga: number for saga, _, number, is_held, *_ in rows if not is_held}
    held = {saga for saga, _, _, is_held, *_ in rows if is_held}
    limits = call_limits.decode(rows[0][-2]) if rows else None
    holds = destination_holds.decode(rows[0][-1] if rows else None)

    if final and held:
        held_messages = [message for message in messages if message.saga in held]
        _store_held_messages(service, step, plan, held_messages)

    without_row = [
        message for message in messages if message.saga not in attempts and message.saga not in held
    ]
    if without_row:
        _park_purged(service, step, plan, without_row)

    return Claims(attempts, held, uncounted, token, limits, holds)


def extend(service: Service, claim: UUID, sagas: Sequence[UUID]) -> set[UUID]:
    """Extend the leases of rows that are still held under a token; return their sagas.

    From then on the rows belong to the database session of the caller. Locked rows are left out.
    """
    params = {
        "claim": claim,
        "sagas": sql.array_literal(sagas),
        "lease": settings.LEASE_SECONDS,
    }
    return {saga for (saga,) in _fetch(service, inbox_lease_sql.EXTEND, params)}


def free_lost(service: Service) -> int:
    """Free the claims whose database session is gone; return how many. Every flush calls it.

    The rows are due at once. Behind a pooler the session outlives the worker, and the row waits for
    the end of its lease. A session may also end before its worker, if the worker renews it before
    the first extension of the lease. Then the step is asked twice, under the same idempotency key.
    """
    freed = _fetch(service, inbox_lease_sql.FREE_LOST, {"limit": MOST_FREED})
    if freed:
        logger.warning(
            "A process of %s was lost while it ran steps, the first is %s for saga %s."
            " Its %d claims are freed, and the steps run again.",
            service.name,
            freed[0][1],
            freed[0][0],
            len(freed),
        )
    return len(freed)


def postpone(
    service: Service,
    step: str,
    plan: Plan,
    messages: Sequence[Message],
    *,
    due_in: float | Mapping[UUID, float],
    lock_wait_ms: int = LOCK_WAIT_MS,
) -> set[UUID]:
    """Keep messages that this process cannot take now; the relay sends them later.

    `due_in`: seconds, for all or for each saga. From here on, each statement of the transaction
    waits for a lock at most `lock_wait_ms` milliseconds.

    Return the sagas that wait now. No attempt is counted. A final row, and a row that a run has
    leased, stay as they are. A message of a purged saga is parked.
    """
    seconds = (
        due_in
        if isinstance(due_in, Mapping)
        else dict.fromkeys((message.saga for message in messages), due_in)
    )
    rows = [{**_row(message, plan), "due_in": seconds[message.saga]} for message in messages]
    params = {
        "step": step,
        "home": plan.home,
        "rows": sql.json_rows(rows),
        "lock_wait": f"{lock_wait_ms}ms",
    }
    postponed = {saga for (saga,) in _fetch(service, inbox_sql.POSTPONE, params)}

    others = [message for message in messages if message.saga not in postponed]
    if others:
        _park_purged(service, step, plan, others)
    return postponed


def hold_calls(
    service: Service, step: str, plan: Plan, messages: Mapping[str, Sequence[Message]]
) -> set[UUID]:
    """Keep messages, by destination, as held rows, because their destinations are on hold; return
    the sagas that are held now. Each statement of the transaction waits for a lock at most
    `LOCK_WAIT_MS` from here on.

    No attempt is counted. A row that is final, leased, or held for this destination already stays
    as it is. A message of a purged saga is left out.
    """
    rows = [
        {**_row(message, plan), "destination": destination}
        for destination, members in messages.items()
        for message in members
    ]
    params = {
        "step": step,
        "home": plan.home,
        "rows": sql.json_rows(rows),
        "lock_wait": f"{LOCK_WAIT_MS}ms",
    }
    return {saga for (saga,) in _fetch(service, inbox_sql.HOLD_CALLS, params)}


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


def lock_open(
    service: Service, step: str, sagas: Sequence[UUID], *, lock_wait_ms: int = LOCK_WAIT_MS
) -> dict[UUID, UUID | None]:
    """Lock the open rows of a step; return the claim of each, by saga.

    An answer for any other row comes too late, and the caller discards it. From here on, each
    statement of the transaction waits for a lock at most `lock_wait_ms` milliseconds.
    """
    params = {
        "step": step,
        "sagas": sql.array_literal(sagas),
        "lock_wait": f"{lock_wait_ms}ms",
    }

    return dict(_fetch(service, inbox_sql.LOCK_OPEN, params))


def locked(
    service: Service, steps: Collection[str], sagas: Collection[UUID]
) -> set[tuple[UUID, str]]:
    """Return the saga and step of each row that another transaction keeps locked now.

    A row that another transaction has inserted and not committed is not found.
    """
    params = {"steps": sql.array_literal(steps), "sagas": sql.array_literal(sagas)}

    return set(_fetch(service, inbox_sql.LOCKED, params))


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
    """Write the results of a step to rows that the caller has claimed or locked.

    A result that is not final changes no row of another claim.
    """
    if results:
        _run(service, inbox_sql.RECORD_RESULTS, {"step": step, "rows": to_json(results)})


def reset_attempts(service: Service, step: str, sagas: Sequence[UUID]) -> None:
    """Set the attempts of claimed or locked rows to 0, because waiting is not a failed attempt."""
    params = {"step": step, "sagas": sql.array_literal(sagas)}
    _run(service, inbox_sql.RESET_ATTEMPTS, params)


def excuse(service: Service, step: str, sagas: Sequence[UUID]) -> None:
    """Let no attempt of claimed or locked rows count, up to the last: it failed by no fault of its
    saga.
    """
    params = {"step": step, "sagas": sql.array_literal(sagas)}
    _run(service, inbox_sql.EXCUSE, params)


def count_failures(
    service: Service, step: str, plan: Plan, failures: Sequence[FailedAttempt]
) -> dict[UUID, int]:
    """Count failed attempts; return the sagas whose attempt was counted by this call, each with
    the number of the last attempt that does not count.

    An attempt that was counted before, or whose row has moved on, changes nothing. Neither does a
    report of another claim than the row's.
    """
    rows = [
        {
            **_row(failure.message, plan),
            "attempt": failure.attempt,
            "lost": failure.lost,
            "claim": failure.claim,
            "error": failure.error,
            "retry_in": failure.retry_in,
        }
        for failure in failures
    ]
    params = {"step": step, "home": plan.home, "rows": sql.json_rows(rows)}

    return dict(_fetch(service, inbox_sql.COUNT_FAILURES, params))


def park(
    service: Service, step: str, plan: Plan, messages: Sequence[Message], *, reason: str
) -> None:
    """Keep messages that must not run as open rows, which the relay never sends again."""
    params = {"step": step, "rows": _rows(messages, plan=plan), "error": reason}
    _run(service, inbox_sql.PARK, params)


def has_due(service: Service) -> bool:
    """Tell whether any open row is due to be sent again."""
    return bool(_fetch(service, inbox_lease_sql.HAS_DUE, {}))


def claim_due(service: Service, *, limit: int, sent_too: bool = True) -> list[DueRow]:
    """Lease up to `limit` open rows that are due to be sent again; the caller sends them.

    Without `sent_too`, leave the rows whose message was sent and not taken since: it may still lie
    in the queue. After `LEASES_UNTIL_LOST` leases it counts as lost.

    Rows whose message cannot be decoded are parked. Another delivery may still run the step.
    """
    statement = inbox_lease_sql.CLAIM_DUE if sent_too else inbox_lease_sql.CLAIM_DUE_UNSENT
    params = {
        "limit": limit,
        "lease": settings.LEASE_SECONDS,
        "lost_after": LEASES_UNTIL_LOST * settings.LEASE_SECONDS,
    }
    leased = _fetch(service, statement, params)

    rows, unreadable = decode_each(leased, _due_row)
    if unreadable:
        _park_unreadable(service, unreadable)
    return rows


def release_due(service: Service, due: Sequence[DueRow]) -> None:
    """Make leased rows due at once, because the caller could not send them."""
    ids = sql.array_literal(row.id for row in due)
    _run(service, inbox_lease_sql.RELEASE_DUE, {"ids": ids})


def make_due_now(service: Service, ids: Sequence[int]) -> int:
    """Make waiting rows due now; return how many."""
    return _run(service, inbox_lease_sql.MAKE_DUE_NOW, {"ids": sql.array_literal(ids)})


def _claim_rows(
    service: Service,
    step: str,
    plan: Plan,
    messages: Sequence[Message],
    *,
    token: UUID | None,
    lock_wait_ms: int,
) -> list[tuple[Any, ...]]:
    """Insert or take over one row per message; return (saga, attempt, uncounted, is held,
    limits of calls, holds on destinations) of each such row.

    Without a token the claim is final. Most final rows never need their message, so a final claim
    does not send the messages along.
    """
    final = token is None
    params = {
        "step": step,
        "home": plan.home,
        "rows": _rows(messages) if final else _rows(messages, plan=plan),
        "state": "done" if final else "started",
        "open": not final,
        "claim": token,
        "lease": settings.LEASE_SECONDS,
        "lock_wait": f"{lock_wait_ms}ms",
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
    rows = _fetch(service, inbox_sql.PURGED, {"home": plan.home, "rows": _rows(messages)})
    purged = {saga for (saga,) in rows}

    if purged:
        purged_messages = [message for message in messages if message.saga in purged]
        park(service, step, plan, purged_messages, reason=PURGED_REASON)


_stored_decoder = msgspec.json.Decoder(StoredMessage)


def _due_row(columns: Sequence[Any]) -> DueRow:
    """Return a row from the values that CLAIM_DUE returns. Raises any error for a damaged row."""
    row_id, step, attempts, losses, stored = columns
    return DueRow(row_id, step, attempts, _stored_decoder.decode(stored), losses)


def _park_unreadable(service: Service, unreadable: Sequence[Unreadable[tuple[Any, ...]]]) -> None:
    rows = []
    for (row_id, step, *_), reason in unreadable:
        logger.error(
            "Inbox row %s of %s, for step %s, has an unreadable message and is parked. Publish the"
            " saga's messages again, or wait for the re-drive: %s",
            row_id,
            service.name,
            step,
            reason,
        )
        error = f"The stored message cannot be read: {reason}"[:MOST_CHARACTERS_OF_ERROR]
        rows.append({"id": row_id, "error": error})

    _run(service, inbox_lease_sql.PARK_UNREADABLE, {"rows": sql.json_rows(rows)})


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
