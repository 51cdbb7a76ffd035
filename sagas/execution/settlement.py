"""The effect of a step's outcomes on its inbox rows and on the way its sagas go on."""

from collections.abc import Sequence
from typing import NamedTuple

from sagas import backoff
from sagas.definition.attempt import StepAttempt
from sagas.definition.events import Event, Refusal
from sagas.definition.handlers import (
    ExternalStep,
    Outcome,
    Retry,
    StepDefinition,
    Unknown,
    Waiting,
)
from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import Plan
from sagas.execution.claiming import Claimed
from sagas.execution.retry_policy import event_after_failure, is_exhausted, retry_pause
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox
from sagas.storage.inbox import StepResult, StoredMessage
from sagas.storage.registry import Service

__all__ = ["Settlement", "decide", "settle"]


class Settlement(NamedTuple):
    """The effect of one outcome.

    `state`, `error` and `due_in` (seconds) are for the inbox row, `row` is for the outbox.
    `resets_attempts`: the attempt does not count.
    """

    state: str
    row: OutboxRow | None
    error: str = ""
    due_in: float = 0.0
    resets_attempts: bool = False


def decide(attempt: StepAttempt, outcome: Outcome, *, action_done: bool) -> Settlement:
    """Return the effect of an attempt's outcome.

    `action_done`: the action that this step undoes or bars is done. Raises `TypeError` for a value
    that is not an outcome, and for a refusal by a step that may not refuse.
    """
    match outcome:
        case Refusal():
            return _refused(attempt, outcome)
        case Event():
            return _done(attempt, outcome, action_done=action_done)
        case Retry():
            return _failed(attempt, outcome)
        case Unknown():
            return _unknown(attempt, outcome)
        case Waiting():
            return _waiting(attempt, outcome)
    raise TypeError(f"{attempt.step} must return outcomes, but returned {outcome!r}.")


def settle(
    service: Service,
    definition: StepDefinition,
    plan: Plan,
    claimed: Sequence[Claimed],
    outcomes: Sequence[Outcome],
) -> list[OutboxRow]:
    """Write the outcomes of a handler to inbox and outbox, in the handler's transaction; return the
    outbox rows, leased. Raises `TypeError` like `decide`.
    """
    step = definition.name
    settlements = [
        decide(
            StepAttempt(plan, step, item.message, item.delivery.attempt),
            outcome,
            action_done=item.delivery.action_done,
        )
        for item, outcome in zip(claimed, outcomes, strict=True)
    ]
    settled = list(zip(claimed, settlements, strict=True))

    # The claim of a local step has already written `done`.
    claim_wrote_done = not isinstance(definition.handler, ExternalStep)
    results = [
        _step_result(plan, item.message, settlement)
        for item, settlement in settled
        if settlement.state != "done" or not claim_wrote_done
    ]
    inbox.record_results(service, step, results)

    without_attempt = [item.saga for item, settlement in settled if settlement.resets_attempts]
    if without_attempt:
        inbox.reset_attempts(service, step, without_attempt)

    rows = [settlement.row for settlement in settlements if settlement.row is not None]
    outbox.write(service, plan, rows, leased=True)
    instrumentation.record_outcomes(service.alias, step, claimed, outcomes, rows)
    return rows


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
    return Settlement("done", attempt.outbox_row(event, target=target))


def _failed(attempt: StepAttempt, retry: Retry) -> Settlement:
    row = event_after_failure(attempt, isolated=True)
    if is_exhausted(attempt.plan, attempt.step, attempt.attempt, isolated=True):
        return Settlement("refused", row, error=retry.reason)
    return Settlement("waiting", row, error=retry.reason, due_in=retry_pause(attempt.attempt))


def _unknown(attempt: StepAttempt, unknown: Unknown) -> Settlement:
    # `isolated=False`, so that it is not given up: the outside system may have done the step.
    row = event_after_failure(attempt, isolated=False)
    due_in = max(retry_pause(attempt.attempt), unknown.after)
    return Settlement("waiting", row, error=unknown.reason, due_in=due_in)


def _waiting(attempt: StepAttempt, waiting: Waiting) -> Settlement:
    row = attempt.outbox_row(waiting.notice, target=None) if waiting.notice else None
    due_in = backoff.jittered(waiting.pause)
    return Settlement("waiting", row, error=waiting.reason, due_in=due_in, resets_attempts=True)


def _step_result(plan: Plan, message: Message, settlement: Settlement) -> StepResult:
    """Return the result for the inbox row. A waiting row keeps its message for the next attempt."""
    waits = settlement.state == "waiting"
    return StepResult(
        saga=message.saga,
        state=settlement.state,
        error=settlement.error,
        due_in=settlement.due_in,
        stored=StoredMessage(plan=plan, message=message) if waits else None,
    )
