"""Messages that meet a locked row wait as rows, so that neither a worker nor other messages wait.

A lock may stay for long: a person's session, a migration, a worker that is frozen.
"""

import logging
from collections.abc import Sequence
from uuid import UUID

from django.db import DatabaseError

from sagas import backoff, sql
from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.execution.transactions import run_transaction
from sagas.storage import inbox
from sagas.storage.registry import Service

__all__ = ["LOCK_WAIT_AGAIN_MS", "MOST_LOCKS", "put_back", "with_locked_rows"]

logger = logging.getLogger(__name__)

# After the first lock that stays, a run waits for each further lock only this long, because it
# looks for the messages that need the lock. Milliseconds.
LOCK_WAIT_AGAIN_MS = 100

# After this many locks, a run puts the rest of its batch back, so that it ends within seconds.
MOST_LOCKS = 16

# Seconds until a message that met a lock is sent again.
PAUSE = 4.0


def with_locked_rows(
    service: Service, plan: Plan, step: str, messages: Sequence[Message]
) -> set[UUID]:
    """Return the sagas whose inbox row, of the step or of the action it undoes, is locked."""
    action = plan.action_of(step)
    steps = [step, action] if action else [step]
    sagas = [message.saga for message in messages]
    return {saga for saga, _ in inbox.locked(service, steps, sagas)}


def put_back(
    service: Service, plan: Plan, step: str, messages: Sequence[Message], error: Exception
) -> DatabaseError | None:
    """Keep messages that met a lock as waiting rows, for a short pause. Count no attempt.

    Return the error if a row could not be written either; the caller's task is delivered again.
    """
    sagas = [message.saga for message in messages]
    logger.warning(
        "%s met a locked row or table for %d sagas, first %s. They wait for it, and the other sagas"
        " go on: %r",
        step,
        len(messages),
        sagas[0],
        error,
    )

    # A locked row of this step exists already, so the relay sends it again at its own time.
    locked = {saga for saga, _ in inbox.locked(service, [step], sagas)}
    postponed = [message for message in messages if message.saga not in locked]
    pause = backoff.jittered(PAUSE)

    def postpone() -> None:
        inbox.postpone(
            service, step, plan, postponed, due_in=pause, lock_wait_ms=LOCK_WAIT_AGAIN_MS
        )

    try:
        if postponed:
            run_transaction(service.alias, postpone, step=step)
    except DatabaseError as second_error:
        if not sql.is_lock_timeout(second_error):
            raise
        return second_error
    return None
