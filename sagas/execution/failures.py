"""Failed attempts of a step: how a run reports them, and how they are counted."""

from collections.abc import Iterable, Sequence

import msgspec
from django.db import transaction

from sagas.definition.attempt import StepAttempt
from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import Plan
from sagas.execution.retry_policy import event_after_failure, is_exhausted, retry_pause
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox
from sagas.storage.inbox import FailedAttempt, StepResult
from sagas.storage.registry import service_of_step

__all__ = ["Failure", "StepFailed", "record_failures"]

# The inbox stores this many characters of an error.
ERROR_LENGTH = 2_000


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A failed attempt at a step. `attempt` counts from 1.

    `isolated`: the message ran alone, so the fault is its own. `resend`: the service sends the step
    to itself again. Unreadable messages are not sent again from this copy, because the sender's
    outbox row may be intact.
    """

    message: Message
    attempt: int
    error: str
    isolated: bool = msgspec.field(name="alone")
    resend: bool = msgspec.field(name="again", default=True)


class StepFailed(Exception):
    """Some messages of a batch failed, each of them in isolation. The others are committed."""

    def __init__(self, step: str, failures: Sequence[Failure]) -> None:
        self.step = step
        self.failures = list(failures)
        first = failures[0]
        super().__init__(
            f"{step} failed for {len(self.failures)} of its sagas,"
            f" first {first.message.saga}: {first.error}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.step, self.failures))


def record_failures(plan: Plan, step: str, failures: Iterable[Failure]) -> list[OutboxRow]:
    """Count failed attempts in one transaction; return the outbox rows that this wrote, leased.

    A failure that is reported twice counts once. A failure of a step that succeeded after all does
    not count.
    """
    service = service_of_step(step)
    by_saga = {failure.message.saga: failure for failure in failures}
    attempts = [_failed_attempt(failure) for failure in by_saga.values()]

    with transaction.atomic(using=service.alias):
        counted_sagas = inbox.count_failures(service, step, plan, attempts)
        counted = [by_saga[saga] for saga in sorted(counted_sagas)]

        given_up = [
            failure
            for failure in counted
            if is_exhausted(plan, step, failure.attempt, isolated=failure.isolated)
        ]
        inbox.record_results(service, step, [_refused(failure) for failure in given_up])

        rows = _rows_of_failures(plan, step, counted)
        outbox.write(service, plan, rows, leased=True)
        instrumentation.record_failures(
            service.alias, step, failed=len(counted), given_up=len(given_up)
        )

    return rows


def _failed_attempt(failure: Failure) -> FailedAttempt:
    return FailedAttempt(
        message=failure.message,
        attempt=failure.attempt,
        error=failure.error[:ERROR_LENGTH],
        retry_in=retry_pause(failure.attempt) if failure.resend else None,
    )


def _refused(failure: Failure) -> StepResult:
    return StepResult(saga=failure.message.saga, state="refused", error=failure.error)


def _rows_of_failures(plan: Plan, step: str, failures: Sequence[Failure]) -> list[OutboxRow]:
    rows = []
    for failure in failures:
        attempt = StepAttempt(plan, step, failure.message, failure.attempt)
        row = event_after_failure(attempt, isolated=failure.isolated)
        if row is not None:
            rows.append(row)
    return rows
