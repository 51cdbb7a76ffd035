"""Failed attempts of a step: how a run reports them, and how they are counted."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec
from django.db import transaction
from msgspec.structs import replace

from sagas.definition.attempt import StepAttempt
from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import Plan
from sagas.definition.sizes import MOST_CHARACTERS_OF_ERROR
from sagas.execution.blame import StepFailure, Verdict, judge
from sagas.execution.error_blame import Blame
from sagas.execution.joining import gather
from sagas.execution.retry_policy import (
    event_after_failure,
    event_while_waiting,
    is_over,
    retry_pause,
)
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox
from sagas.storage.inbox import FailedAttempt, StepResult, StoredMessage
from sagas.storage.registry import service_of_step

__all__ = ["Failure", "StepFailed", "record_failures"]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A failed attempt at a step. `attempt` counts from 1.

    `isolated`: the message ran alone, so the error is of its own run. `resend`: the service sends
    the step to itself again. Unreadable messages are not sent again from this copy, because the
    sender's outbox row may be intact. `claim`: the token under which the run had claimed the row,
    if it had. `lost`: the process of the run was lost. `blame` is what the error alone shows.
    `beside_success`: the step succeeded for others in the same run. `destination` is the outside
    system that the run has called, if it called any.
    """

    message: Message
    attempt: int
    error: str
    isolated: bool = msgspec.field(name="alone")
    resend: bool = msgspec.field(name="again", default=True)
    claim: UUID | None = None
    lost: bool = False
    blame: Blame = Blame.SAGA
    beside_success: bool = False
    destination: str = ""


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
    """Record failed attempts in one transaction; return the outbox rows that this wrote, leased.

    An attempt counts if the fault is the saga's own (`sagas.execution.blame`). A failure that is
    reported twice counts once. A failure of a step that succeeded after all does not count. The
    loss of a whole batch counts for none of its sagas, because at most one of them caused it. A
    step behind a parallel group cannot fail before all branches have arrived.
    """
    service = service_of_step(step)
    by_saga = {failure.message.saga: failure for failure in _of_joined(plan, step, failures)}
    attempts = [_failed_attempt(step, failure) for failure in by_saga.values()]

    with transaction.atomic(using=service.alias):
        excused = inbox.count_failures(service, step, plan, attempts)
        reported = [
            _without_excused(by_saga[saga], number) for saga, number in sorted(excused.items())
        ]

        verdicts = judge(service, step, [_to_judge(failure) for failure in reported])
        counted = [each for each in reported if verdicts[each.message.saga].counts]
        others = [each for each in reported if not verdicts[each.message.saga].counts]

        over = [
            failure
            for failure in counted
            if is_over(plan, step, failure.attempt, isolated=failure.isolated)
        ]
        results = [_refused(failure) for failure in over]
        results += [_waits(plan, failure, verdicts[failure.message.saga]) for failure in others]
        inbox.record_results(service, step, results)
        excusable = [*others, *(failure for failure in counted if _is_of_batch(failure))]
        if excusable:
            inbox.excuse(service, step, [failure.message.saga for failure in excusable])

        rows = _rows_of_failures(plan, step, counted, others, verdicts)
        outbox.write(service, plan, rows, leased=True)
        instrumentation.record_failures(
            service.alias, step, failed=len(reported), over=len(over), rows=rows
        )

    return rows


def _of_joined(plan: Plan, step: str, failures: Iterable[Failure]) -> list[Failure]:
    """Return the failures with the messages that may run: see `sagas.execution.joining`."""
    reported = list(failures)
    joined = {each.saga: each for each in gather(plan, step, [one.message for one in reported])}
    return [
        replace(failure, message=joined[failure.message.saga])
        for failure in reported
        if failure.message.saga in joined
    ]


def _is_of_batch(failure: Failure) -> bool:
    """Tell whether the process of a whole batch was lost."""
    return failure.lost and not failure.isolated


def _without_excused(failure: Failure, excused: int) -> Failure:
    """Return a failure whose attempt leaves out the attempts that do not count.

    A run that had claimed the row has reported this number.
    """
    if failure.claim is not None:
        return failure
    return replace(failure, attempt=max(1, failure.attempt - excused))


def _failed_attempt(step: str, failure: Failure) -> FailedAttempt:
    return FailedAttempt(
        message=failure.message,
        attempt=failure.attempt,
        error=failure.error[:MOST_CHARACTERS_OF_ERROR],
        retry_in=retry_pause(step, failure.attempt) if failure.resend else None,
        lost=failure.lost,
        claim=failure.claim,
    )


def _to_judge(failure: Failure) -> StepFailure:
    return StepFailure(
        saga=failure.message.saga,
        error=failure.error,
        blame=failure.blame,
        beside_success=failure.beside_success,
        step_succeeded=failure.beside_success,
        isolated=failure.isolated,
        destination=failure.destination,
    )


def _refused(failure: Failure) -> StepResult:
    return StepResult(saga=failure.message.saga, state="refused", error=failure.error)


def _waits(plan: Plan, failure: Failure, verdict: Verdict) -> StepResult:
    return StepResult(
        saga=failure.message.saga,
        state="held" if verdict.on_hold else "waiting",
        error=failure.error[:MOST_CHARACTERS_OF_ERROR],
        due_in=verdict.pause,
        stored=StoredMessage(plan=plan, message=failure.message),
        destination=verdict.destination or failure.destination or None,
    )


def _rows_of_failures(
    plan: Plan,
    step: str,
    counted: Sequence[Failure],
    others: Sequence[Failure],
    verdicts: Mapping[UUID, Verdict],
) -> list[OutboxRow]:
    rows = []
    for failure in counted:
        attempt = StepAttempt(plan, step, failure.message, failure.attempt)
        row = event_after_failure(attempt, isolated=failure.isolated)
        if row is not None:
            rows.append(row)

    for failure in others:
        attempt = StepAttempt(plan, step, failure.message, failure.attempt)
        rows.append(event_while_waiting(attempt, verdicts[failure.message.saga]))
    return rows
