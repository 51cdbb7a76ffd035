"""The policy for failed attempts: when a step is tried again, and when it is given up.

A step is given up at the limit of its tries (`sagas.definition.policy`), and its saga is
compensated, if all of these hold:

- it is a forward step up to the pivot, so the saga can still be undone;
- the failure is the saga's own, by the verdict of `sagas.execution.blame`;
- it is not a pivot that calls an outside system, because nothing can undo what that may have done.

An optional step after the pivot is skipped at the limit, if the failure is the saga's own. Nothing
needs to be undone, so it is skipped also if the outcome of its last attempt is unknown.

Every other step is tried for ever, with pauses of at most a minute unless its policy says
otherwise. At the limit, the timeline says that the saga needs attention.
"""

from datetime import UTC, datetime, timedelta

from sagas.definition import handlers
from sagas.definition.attempt import StepAttempt
from sagas.definition.events import (
    NeedsAttention,
    OnHold,
    Refusal,
    StepSkipped,
    WaitsForRepair,
)
from sagas.definition.messages import OutboxRow
from sagas.definition.plan import Plan
from sagas.execution.blame import Verdict

__all__ = [
    "event_after_failure",
    "event_while_waiting",
    "is_exhausted",
    "is_over",
    "is_skipped",
    "retry_pause",
]

# Seconds that a retry may itself wait for a worker, or for its answer.
LONGEST_DELAY = 60.0


def retry_pause(step: str, attempt: int) -> float:
    """Return the seconds between a step's failed attempt number `attempt` and the next one."""
    return handlers.policy_of(step).backoff.pause(attempt)


def is_exhausted(plan: Plan, step: str, attempt: int, *, isolated: bool) -> bool:
    """Tell whether a step is given up, now that its attempt number `attempt` has failed.

    `isolated`: the failure is known to be the step's own.
    """
    definition = handlers.definition(step)
    can_refuse = definition is not None and definition.refusal is not None
    is_pivot = plan.pivot is not None and step == plan.pivot.name

    may_be_given_up = can_refuse and plan.refusable(step)
    is_external_pivot = is_pivot and handlers.is_external(step)
    return may_be_given_up and not is_external_pivot and isolated and _at_limit(step, attempt)


def is_skipped(plan: Plan, step: str, attempt: int, *, isolated: bool) -> bool:
    """Tell whether a step is skipped, now that its attempt number `attempt` has failed.

    `isolated`: the failure is known to be the step's own.
    """
    is_known = handlers.definition(step) is not None
    return is_known and plan.skippable(step) and isolated and _at_limit(step, attempt)


def is_over(plan: Plan, step: str, attempt: int, *, isolated: bool) -> bool:
    """Tell whether this failed attempt was the last one: the step is given up, or skipped."""
    return is_exhausted(plan, step, attempt, isolated=isolated) or is_skipped(
        plan, step, attempt, isolated=isolated
    )


def event_after_failure(attempt: StepAttempt, *, isolated: bool) -> OutboxRow | None:
    """Return the outbox row that a failed attempt leads to, or None.

    It is the step's refusal if it is given up, and a message to the next step if it is skipped.
    Otherwise, it is a call for attention at the limit.
    """
    if is_exhausted(attempt.plan, attempt.step, attempt.attempt, isolated=isolated):
        return _giving_up(attempt)
    if is_skipped(attempt.plan, attempt.step, attempt.attempt, isolated=isolated):
        return _skipping(attempt)
    if attempt.attempt == handlers.policy_of(attempt.step).most_tries:
        return attempt.outbox_row(NeedsAttention(step=attempt.step), target=None)
    return None


def event_while_waiting(attempt: StepAttempt, verdict: Verdict) -> OutboxRow:
    """Return the outbox row of a failure that is not the saga's own.

    It says in the timeline that the saga waits, so the saga does not count as stalled.
    """
    if verdict.on_hold:
        return attempt.outbox_row(OnHold(step=attempt.step), target=None)

    waits_until = datetime.now(UTC) + timedelta(seconds=verdict.pause + LONGEST_DELAY)
    event = WaitsForRepair(step=attempt.step, waits_until=waits_until)
    return attempt.outbox_row(event, target=None)


def _giving_up(attempt: StepAttempt) -> OutboxRow:
    """Refuse in the step's name. The compensation starts with the step's own undo, because the
    outcome of the step is not known.
    """
    step = attempt.step
    definition = handlers.definition(step)
    refusal: type[Refusal] = definition.refusal  # type: ignore[union-attr, assignment]  # is_exhausted() checked it
    event = refusal(code="internal_error", detail=f"{step} could not be completed.")
    return attempt.refusal_row(event, target=attempt.plan.after_giving_up(step))


def _skipping(attempt: StepAttempt) -> OutboxRow:
    event = StepSkipped(
        step=attempt.step,
        tries=attempt.attempt,
        reason=f"{attempt.step} could not be completed.",
    )
    return attempt.outbox_row(event, target=attempt.plan.after(attempt.step))


def _at_limit(step: str, attempt: int) -> bool:
    return attempt >= handlers.policy_of(step).most_tries
