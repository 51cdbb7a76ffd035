"""The effect of a step's outcomes on its inbox rows and on the way its sagas go on."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sagas import backoff
from sagas.definition.attempt import StepAttempt
from sagas.definition.events import DEADLINE, Event, NeedsAttention, Refusal
from sagas.definition.handlers import (
    AgreedWait,
    ExternalStep,
    Outcome,
    Retry,
    StepDefinition,
    Unknown,
    Waiting,
)
from sagas.definition.messages import OutboxRow
from sagas.definition.plan import Plan
from sagas.execution.blame import OWN, StepFailure, Verdict, judge
from sagas.execution.claiming import Claimed
from sagas.execution.error_blame import Blame
from sagas.execution.retry_policy import (
    event_after_failure,
    event_while_waiting,
    is_over,
    is_skipped,
    retry_pause,
)
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox
from sagas.storage.inbox import StepResult, StoredMessage
from sagas.storage.registry import Service

__all__ = ["Settlement", "decide", "settle"]


class Settlement(NamedTuple):
    """The effect of one outcome.

    `state`, `error` and `due_in` (seconds) are for the inbox row, `row` is for the outbox.
    `resets_attempts`: the step waits as agreed. `is_excused`: it failed by no fault of the saga.
    `notice` is a further row for the outbox. `destination`: the destination whose hold the saga
    waits for.
    """

    state: str
    row: OutboxRow | None
    error: str = ""
    due_in: float = 0.0
    resets_attempts: bool = False
    is_excused: bool = False
    notice: OutboxRow | None = None
    destination: str = ""


def decide(
    attempt: StepAttempt,
    outcome: Outcome,
    *,
    action_done: bool,
    verdict: Verdict = OWN,
    is_overtaken: bool = False,
) -> Settlement:
    """Return the effect of an attempt's outcome.

    `action_done`: the action that this step undoes or bars is done. `verdict` says whose fault a
    retry or an unknown outcome is. `is_overtaken`: another run has claimed the row since, so this
    attempt skips no step. Raises `TypeError` for a value that is not an outcome, and for a
    refusal by a step that may not refuse. Raises it also for another event than the step `returns`.
    """
    match outcome:
        case Refusal():
            return _refused(attempt, outcome)
        case Event():
            return _done(attempt, outcome, action_done=action_done)
        case Retry() | Unknown():
            return _not_done(attempt, outcome, verdict, is_overtaken=is_overtaken)
        case Waiting():
            return _waiting(attempt, outcome)
    raise TypeError(
        f"{attempt.step} must return an Event, a Refusal, or an outcome of sagas.outcomes, but "
        f"returned {outcome!r}."
    )


def settle(
    service: Service,
    definition: StepDefinition,
    plan: Plan,
    claimed: Sequence[Claimed],
    outcomes: Sequence[Outcome],
    *,
    overtaken: Collection[UUID] = frozenset(),
) -> list[OutboxRow]:
    """Write the outcomes of a handler to inbox and outbox, in the handler's transaction; return the
    outbox rows, leased. `overtaken`: the sagas whose row another run has claimed since. Raises
    `TypeError` like `decide`.
    """
    step = definition.name
    verdicts = _judge_failed(service, step, claimed, outcomes)
    settlements = [
        decide(
            StepAttempt(plan, step, item.message, item.delivery.attempt),
            outcome,
            action_done=item.delivery.action_done,
            verdict=verdicts.get(item.saga, OWN),
            is_overtaken=item.saga in overtaken,
        )
        for item, outcome in zip(claimed, outcomes, strict=True)
    ]
    settled = list(zip(claimed, settlements, strict=True))

    # The claim of a local step has already written `done`.
    is_external = isinstance(definition.handler, ExternalStep)
    results = [
        _step_result(plan, item, settlement, is_external=is_external)
        for item, settlement in settled
        if settlement.state != "done" or is_external
    ]
    inbox.record_results(service, step, results)

    agreed = [item.saga for item, settlement in settled if settlement.resets_attempts]
    if agreed:
        inbox.reset_attempts(service, step, agreed)
    excused = [item.saga for item, settlement in settled if settlement.is_excused]
    if excused:
        inbox.excuse(service, step, excused)

    rows = [
        row
        for settlement in settlements
        for row in (settlement.row, settlement.notice)
        if row is not None
    ]
    outbox.write(service, plan, rows, leased=True)
    instrumentation.record_outcomes(service.alias, step, claimed, outcomes, rows)
    return rows


def _judge_failed(
    service: Service, step: str, claimed: Sequence[Claimed], outcomes: Sequence[Outcome]
) -> Mapping[UUID, Verdict]:
    """Judge the failed outcomes. A batch without any costs no statement."""
    failed = [
        (item, outcome)
        for item, outcome in zip(claimed, outcomes, strict=True)
        if isinstance(outcome, Retry | Unknown)
    ]
    succeeded = {
        item.destination
        for item, outcome in zip(claimed, outcomes, strict=True)
        if not isinstance(outcome, Retry | Unknown)
    }
    failures = [
        StepFailure(
            saga=item.saga,
            error=outcome.reason,
            blame=Blame.PROVIDER if isinstance(outcome, Unknown) else Blame.SAGA,
            beside_success=_is_beside_success(item, outcome, succeeded),
            step_succeeded=bool(succeeded),
            destination=item.destination or "",
        )
        for item, outcome in failed
    ]
    return judge(service, step, failures)


def _is_beside_success(item: Claimed, outcome: Outcome, succeeded: Collection[str | None]) -> bool:
    """Tell whether the step succeeded for another saga of the run: at the same destination, if the
    destination gives no answer.
    """
    if isinstance(outcome, Unknown) and item.destination:
        return item.destination in succeeded
    return bool(succeeded)


def _refused(attempt: StepAttempt, refusal: Refusal) -> Settlement:
    if not attempt.plan.refusable(attempt.step):
        raise TypeError(f"{attempt.step} may not refuse, but returned {refusal!r}.")
    plan, step = attempt.plan, attempt.step
    target = plan.after_giving_up(step) if refusal.had_effect else plan.after_refusal(step)
    row = attempt.refusal_row(refusal, target=target)
    return Settlement("refused", row, error=refusal.detail)


def _done(attempt: StepAttempt, event: Event, *, action_done: bool) -> Settlement:
    # A bar that came too late sends the saga nowhere, because the pivot has sent it forward.
    bar_came_too_late = attempt.step == attempt.plan.bar and action_done
    target = None if bar_came_too_late else attempt.plan.after(attempt.step)
    notice = _late_deadline(attempt) if bar_came_too_late else None
    return Settlement("done", attempt.done_row(event, target=target), notice=notice)


def _late_deadline(attempt: StepAttempt) -> OutboxRow | None:
    """Return a call for attention if a deadline, and no operator, asked the bar in vain."""
    failure = attempt.message.context.get("failure")
    if not isinstance(failure, dict) or failure.get("code") != DEADLINE:
        return None
    pivot = attempt.plan.pivot
    event = NeedsAttention(step=pivot.name if pivot else "", reason=DEADLINE)
    return attempt.outbox_row(event, target=None)


def _not_done(
    attempt: StepAttempt, outcome: Retry | Unknown, verdict: Verdict, *, is_overtaken: bool
) -> Settlement:
    if not verdict.counts:
        return _waits_for_repair(attempt, outcome, verdict)
    if is_overtaken and attempt.plan.skippable(attempt.step):
        # The other run decides. Its step may succeed, which a skip would not let count.
        pause = retry_pause(attempt.step, attempt.attempt)
        return Settlement("waiting", None, error=outcome.reason, due_in=pause)
    if isinstance(outcome, Unknown):
        return _unknown(attempt, outcome)
    return _failed(attempt, outcome)


def _failed(attempt: StepAttempt, retry: Retry) -> Settlement:
    row = event_after_failure(attempt, isolated=True)
    if is_over(attempt.plan, attempt.step, attempt.attempt, isolated=True):
        return Settlement("refused", row, error=retry.reason)
    due_in = retry_pause(attempt.step, attempt.attempt)
    return Settlement("waiting", row, error=retry.reason, due_in=due_in)


def _unknown(attempt: StepAttempt, unknown: Unknown) -> Settlement:
    # It is not given up, because the outside system may have done the step. An optional step is
    # skipped all the same: nothing would have to be undone.
    if is_skipped(attempt.plan, attempt.step, attempt.attempt, isolated=True):
        row = event_after_failure(attempt, isolated=True)
        return Settlement("refused", row, error=unknown.reason)

    row = event_after_failure(attempt, isolated=False)
    due_in = max(retry_pause(attempt.step, attempt.attempt), unknown.after)
    return Settlement("waiting", row, error=unknown.reason, due_in=due_in)


def _waits_for_repair(
    attempt: StepAttempt, outcome: Retry | Unknown, verdict: Verdict
) -> Settlement:
    row = event_while_waiting(attempt, verdict)
    if verdict.on_hold:
        return Settlement(
            "held", row, error=outcome.reason, is_excused=True, destination=verdict.destination
        )

    after = outcome.after if isinstance(outcome, Unknown) else 0.0
    due_in = max(verdict.pause, after)
    return Settlement("waiting", row, error=outcome.reason, due_in=due_in, is_excused=True)


def _waiting(attempt: StepAttempt, waiting: Waiting) -> Settlement:
    row = attempt.outbox_row(waiting.notice, target=None) if waiting.notice else None
    is_exact = isinstance(waiting, AgreedWait)
    due_in = waiting.pause if is_exact else backoff.jittered(waiting.pause)
    return Settlement("waiting", row, error=waiting.reason, due_in=due_in, resets_attempts=True)


def _step_result(
    plan: Plan, item: Claimed, settlement: Settlement, *, is_external: bool
) -> StepResult:
    """Return the result for the inbox row. An open row keeps its message for the next attempt."""
    called_destination = (item.destination or "") if is_external else None
    waits = settlement.state in {"waiting", "held"}
    return StepResult(
        saga=item.saga,
        state=settlement.state,
        error=settlement.error,
        due_in=settlement.due_in,
        stored=StoredMessage(plan=plan, message=item.message) if waits else None,
        claim=item.claim,
        destination=settlement.destination or called_destination,
    )
