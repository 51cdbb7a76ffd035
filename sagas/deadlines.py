"""Deadlines: a saga that is not over in time is undone before its pivot; after it a person is told.

The time is a column of the tracked row, set at the start by the database's clock. The home's
periodic re-drive looks at it. The decision is that of a cancel (`sagas.tracked.cancel`): the
transaction that first makes the pivot's row final decides. So a pivot that is done at the same time
may win, and then the saga is past its pivot.

A deadline acts once, and its column is then null, in one transaction with the effect. While a pivot
waits for an outside system, nothing is decided, and the deadline is looked at again. If the pivot
is in another database, its bar decides and tells the person (`sagas.execution.settlement`). A bar
runs once. If a cancel has asked it before, the deadline is looked at again until the timeline has
its answer.
"""

import logging
from uuid import UUID

import msgspec
from django.db import transaction

from sagas.definition.events import (
    DEADLINE,
    DeadlineMissed,
    NeedsAttention,
    is_notice,
    is_refusal,
)
from sagas.definition.plan import Plan
from sagas.lifecycle import CancelResult, publish_notice
from sagas.models import TrackedSaga
from sagas.sql import is_lock_timeout, is_transient_database_error
from sagas.storage import deadlines, outbox, timeline
from sagas.storage.registry import Home, get_service
from sagas.tracked import cancel, decides_here

__all__ = ["act", "run_once"]

logger = logging.getLogger(__name__)

# The most deadlines of one kind of saga that act in one round.
BATCH_SIZE = 500

# Seconds until a deadline is looked at again whose effect failed, or whose pivot is undecided.
PAUSE = 30.0

EFFECTS = {
    CancelResult.OURS: "it is undone.",
    CancelResult.REFUSED: "it is being undone already.",
    CancelResult.DONE: "its pivot is done, so it goes on and needs attention. Look at its steps.",
    CancelResult.UNDECIDED: "the service of its pivot is asked to bar the pivot.",
}


def run_once(home: Home) -> int:
    """Let the deadlines act that have passed, the oldest first; return how many acted."""
    passed = deadlines.take_passed(home, limit=BATCH_SIZE, pause=PAUSE)
    return sum(_act_safely(home, kind, saga) for kind, saga in passed)


def act(home: Home, kind: type[TrackedSaga], saga: UUID) -> bool:
    """Let the deadline of a saga act in one transaction; tell whether it did.

    It does not if the saga has ended, if it has acted before, or while the pivot waits for an
    outside system.
    """
    row = kind._base_manager.using(home.alias).get(pk=saga)
    if row.deadline_at is None or row.ended_at is not None:
        return False

    with transaction.atomic(using=home.alias):
        result = _cancel(home, kind, row)
        if result is None:
            return False
        if not deadlines.finish(home, kind, saga):
            return False
        if result is CancelResult.DONE:
            publish_notice(home.name, saga, _attention(row))

    logger.warning("Saga %s has missed its deadline: %s", saga, EFFECTS[result])
    return True


def _cancel(home: Home, kind: type[TrackedSaga], row: TrackedSaga) -> CancelResult | None:
    """Cancel the saga; return the result, or None while nothing is decided."""
    if decides_here(row):
        result = cancel(row, DeadlineMissed())
        return None if result is CancelResult.UNDECIDED else result

    # As a cancel does, so that no cancel asks the bar meanwhile.
    kind._base_manager.using(home.alias).select_for_update().get(pk=row.pk)
    plan = msgspec.convert(row.plan, Plan)
    if outbox.has_row_to(get_service(home.name), row.pk, plan.bar):
        return _answer_to_earlier_cancel(home, plan, row.pk)
    return cancel(row, DeadlineMissed())


def _answer_to_earlier_cancel(home: Home, plan: Plan, saga: UUID) -> CancelResult | None:
    """Return the answer of a bar that an earlier cancel has asked, or None if there is none yet."""
    pivot, bar = plan.pivot.name if plan.pivot else "", plan.bar or ""
    found = timeline.types_by_step(home, saga, [pivot, bar])
    if all(map(is_notice, found[bar])):
        return None
    is_done = any(not is_notice(type_) and not is_refusal(type_) for type_ in found[pivot])
    return CancelResult.DONE if is_done else CancelResult.REFUSED


def _attention(row: TrackedSaga) -> NeedsAttention:
    pivot = msgspec.convert(row.plan, Plan).pivot
    return NeedsAttention(step=pivot.name if pivot else "", reason=DEADLINE)


def _act_safely(home: Home, kind: type[TrackedSaga], saga: UUID) -> bool:
    try:
        return act(home, kind, saga)
    except Exception as error:
        if is_transient_database_error(error) and not is_lock_timeout(error):
            raise
        # The deadlines of the other sagas do not wait for this one.
        logger.exception(
            "The deadline of saga %s of %s could not act. It is tried again in %g s",
            saga,
            home.name,
            PAUSE,
        )
        return False
