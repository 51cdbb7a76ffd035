"""What becomes of a try that did not succeed: wait and try again, or give the step up and start the
compensation.

Only a forward step up to the pivot may be given up, at the limit of its tries, and only for a
failure that is known to be its own. A pivot that speaks to an outside system may not: what it may
have done there, nothing undoes. Everything else is tried for ever, ever more slowly, and a person
is told.
"""

import random
from collections.abc import Iterable, Sequence

import msgspec
from django.conf import settings
from django.db import transaction

from sagas.definition import handlers
from sagas.definition.attempt import StepAttempt
from sagas.definition.events import NeedsAttention, Refusal
from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import Plan
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox
from sagas.storage.inbox import FailedAttempt, StepResult
from sagas.storage.registry import service_of_step

__all__ = [
    "Failure",
    "StepFailed",
    "backoff",
    "event_after_failure",
    "is_exhausted",
    "record_failures",
]

# Seconds. The first retry comes soon, as most trouble is short; the longest gap bounds how late a
# saga ends once the trouble is over.
FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0

ERROR_LENGTH = 2_000


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One failed try of a step: which one (from 1), why, and whether the message ran alone: the
    fault is its own.

    `again`: the service sends the message to itself again. Not so what nobody can read: the
    sender's copy may be whole.
    """

    message: Message
    attempt: int
    error: str
    alone: bool
    again: bool = True


class StepFailed(Exception):
    """Some messages of a batch raised, each of them alone; the others are committed."""

    def __init__(self, step: str, failures: Sequence[Failure]) -> None:
        self.step = step
        self.failures = list(failures)
        super().__init__(
            f"{step} failed for {len(self.failures)}, first {failures[0].message.saga}: {failures[0].error}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.step, self.failures))


def backoff(attempt: int) -> float:
    """Return the seconds until the try after `attempt`: doubling, at most 60, with jitter so
    that a crowd disperses.
    """
    longest: float = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(attempt - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  no secret


def is_exhausted(plan: Plan, step: str, attempt: int, *, alone: bool) -> bool:
    """Tell whether a step that failed for the `attempt`th time is given up."""
    known = handlers.definition(step)
    may = known is not None and known.refusal is not None and plan.refusable(step)
    is_outside = plan.pivot is not None and step == plan.pivot.name and handlers.is_external(step)
    return may and not is_outside and alone and attempt >= settings.SAGA_STEP_ATTEMPTS


def record_failures(plan: Plan, step: str, failures: Iterable[Failure]) -> list[OutboxRow]:
    """Count failed tries in one transaction; return the rows that were written to the outbox,
    leased to the caller.

    Harmless when called again for the same try, and for a step that in truth succeeded: those no
    longer match.
    """
    service = service_of_step(step)
    by_saga = {failure.message.saga: failure for failure in failures}
    with transaction.atomic(using=service.alias):
        counted = inbox.count_failures(
            service, step, plan, [_failed_attempt(failure) for failure in by_saga.values()]
        )
        ours = [failure for saga, failure in sorted(by_saga.items()) if saga in counted]
        ended = [
            failure
            for failure in ours
            if is_exhausted(plan, step, failure.attempt, alone=failure.alone)
        ]
        results = [
            StepResult(saga=failure.message.saga, state="refused", error=failure.error)
            for failure in ended
        ]
        inbox.record_results(service, step, results)
        called_for = [
            event_after_failure(
                StepAttempt(plan, step, failure.message, failure.attempt), alone=failure.alone
            )
            for failure in ours
        ]
        envelopes = [envelope for envelope in called_for if envelope is not None]
        outbox.write(service, plan, envelopes, leased=True)
        instrumentation.counted(service.alias, step, failed=len(ours), given_up=len(ended))
    return envelopes


def event_after_failure(tried: StepAttempt, *, alone: bool) -> OutboxRow | None:
    """Return the row that a failed try calls for: the failure event, the call for a person, or
    none yet.
    """
    if is_exhausted(tried.plan, tried.step, tried.attempt, alone=alone):
        return _giving_up(tried)
    if tried.attempt == settings.SAGA_STEP_ATTEMPTS:
        return tried.outbox_row(NeedsAttention(step=tried.step), target=None)
    return None


def _giving_up(tried: StepAttempt) -> OutboxRow:
    """The outcome of a step given up is not known, so the way back begins with the step's own
    undo.
    """
    known = handlers.definition(tried.step)
    refusal: type[Refusal] = known.refusal  # type: ignore[union-attr, assignment]  # is_exhausted() has seen it
    event = refusal(code="internal_error", detail=f"{tried.step} could not be completed.")
    return tried.refusal_row(event, target=tried.plan.after_giving_up(tried.step))


def _failed_attempt(failure: Failure) -> FailedAttempt:
    return FailedAttempt(
        message=failure.message,
        attempt=failure.attempt,
        error=failure.error[:ERROR_LENGTH],
        retry_in=backoff(failure.attempt) if failure.again else None,
    )
