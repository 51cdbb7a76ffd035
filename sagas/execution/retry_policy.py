"""The policy for failed attempts: when a step is tried again, and when it is given up.

A step is given up at the limit of its attempts, and its saga is compensated, if all of these hold:

- it is a forward step up to the pivot, so the saga can still be undone;
- the failure is known to be its own;
- it is not a pivot that calls an outside system, because nothing can undo what that may have done.

Every other step is tried for ever, with pauses of at most a minute. At the limit, the timeline says
that the saga needs attention.
"""

from django.conf import settings

from sagas import backoff
from sagas.definition import handlers
from sagas.definition.attempt import StepAttempt
from sagas.definition.events import NeedsAttention, Refusal
from sagas.definition.messages import OutboxRow
from sagas.definition.plan import Plan

__all__ = ["event_after_failure", "is_exhausted", "retry_pause"]

# Seconds. The first retry comes soon, because most faults are short. The longest pause limits how
# late a saga ends once a fault is over.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


def retry_pause(attempt: int) -> float:
    """Return the seconds between failed attempt number `attempt` and the next one."""
    pause = backoff.exponential(attempt, first=FIRST_PAUSE, longest=LONGEST_PAUSE)
    return backoff.jittered(pause)


def is_exhausted(plan: Plan, step: str, attempt: int, *, isolated: bool) -> bool:
    """Tell whether a step is given up, now that its attempt number `attempt` has failed.

    `isolated`: the failure is known to be the step's own.
    """
    definition = handlers.definition(step)
    can_refuse = definition is not None and definition.refusal is not None
    is_pivot = plan.pivot is not None and step == plan.pivot.name

    may_be_given_up = can_refuse and plan.refusable(step)
    is_external_pivot = is_pivot and handlers.is_external(step)
    at_limit = attempt >= settings.SAGA_STEP_ATTEMPTS
    return may_be_given_up and not is_external_pivot and isolated and at_limit


def event_after_failure(attempt: StepAttempt, *, isolated: bool) -> OutboxRow | None:
    """Return the outbox row that a failed attempt leads to: the step's refusal if it is given up, a
    call for attention at the limit, else None.
    """
    if is_exhausted(attempt.plan, attempt.step, attempt.attempt, isolated=isolated):
        return _giving_up(attempt)
    if attempt.attempt == settings.SAGA_STEP_ATTEMPTS:
        return attempt.outbox_row(NeedsAttention(step=attempt.step), target=None)
    return None


def _giving_up(attempt: StepAttempt) -> OutboxRow:
    """Refuse in the step's name. The compensation starts with the step's own undo, because the
    outcome of the step is not known.
    """
    step = attempt.step
    definition = handlers.definition(step)
    refusal: type[Refusal] = definition.refusal  # type: ignore[union-attr, assignment]  # is_exhausted() checked it
    event = refusal(code="internal_error", detail=f"{step} could not be completed.")
    return attempt.refusal_row(event, target=attempt.plan.after_giving_up(step))
