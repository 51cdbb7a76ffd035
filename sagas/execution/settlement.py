"""What the outcomes of a step mean: for its inbox row, and for the way the saga goes on."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sagas.definition.attempt import StepAttempt
from sagas.definition.events import Event, Refusal
from sagas.definition.handlers import (
    Delivery,
    ExternalStep,
    Outcome,
    Retry,
    StepDefinition,
    Unknown,
    Waiting,
)
from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import Plan
from sagas.execution.retries import backoff, event_after_failure, is_exhausted
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox
from sagas.storage.inbox import StepResult, StoredMessage
from sagas.storage.registry import Service

__all__ = ["Claimed", "settle"]


class Claimed(NamedTuple):
    """A message whose inbox row is ours, and what the handler sees of it."""

    message: Message
    delivery: Delivery[Any]

    @property
    def saga(self) -> UUID:
        """The saga it belongs to."""
        return self.message.saga


def settle(
    service: Service,
    definition: StepDefinition,
    plan: Plan,
    claimed: Sequence[Claimed],
    outcomes: Sequence[Outcome],
) -> list[OutboxRow]:
    """Write what a handler decided to inbox and outbox, in its transaction; return the rows of the
    outbox, leased.

    Raises `TypeError` for what is no outcome, and for a refusal by a step that the plan does not
    let refuse.
    """
    step, rows, envelopes = definition.name, [], []
    for (message, delivery), outcome in zip(claimed, outcomes, strict=True):
        tried = StepAttempt(plan, step, message, delivery.attempt)
        state, error, delay = _state(tried, outcome)
        if state != "done" or isinstance(definition.handler, ExternalStep):
            stored = StoredMessage(plan=plan, message=message) if state == "waiting" else None
            rows.append(
                StepResult(saga=message.saga, state=state, error=error, due_in=delay, stored=stored)
            )
        envelope = _envelope(tried, delivery, outcome)
        if envelope is not None:
            envelopes.append(envelope)
    inbox.record_results(service, step, rows)
    waiting = [
        item.saga
        for item, outcome in zip(claimed, outcomes, strict=True)
        if isinstance(outcome, Waiting)
    ]
    if waiting:
        inbox.reset_attempts(service, step, waiting)
    outbox.write(service, plan, envelopes, leased=True)
    instrumentation.settled(service.alias, step, claimed, outcomes, envelopes)
    return envelopes


def _state(tried: StepAttempt, outcome: Outcome) -> tuple[str, str, float]:
    """Return the state of the inbox row, the error and the seconds until the next try that an
    outcome means.
    """
    match outcome:
        case Refusal():
            return "refused", outcome.detail, 0.0
        case Event():
            return "done", "", 0.0
        case Retry(reason) if is_exhausted(tried.plan, tried.step, tried.attempt, alone=True):
            return "refused", reason, 0.0
        case Retry(reason) | Unknown(reason) | Waiting(reason):
            return "waiting", reason, _pause(outcome, backoff(tried.attempt))
    raise TypeError(f"{tried.step} returned {outcome!r}, which is no outcome.")


def _envelope(tried: StepAttempt, delivery: Delivery[Any], outcome: Outcome) -> OutboxRow | None:
    """Return the row of the event that an outcome means; None where there is nothing to tell."""
    plan, step = tried.plan, tried.step
    match outcome:
        case Refusal():
            if not plan.refusable(step):
                raise TypeError(f"{step} may not refuse, but returned {outcome!r}.")
            return tried.refusal_row(outcome, target=plan.after_refusal(step))
        case Event():
            too_late = (
                step == plan.bar and delivery.action_done
            )  # the walk forward goes on by itself
            return tried.outbox_row(outcome, target=None if too_late else plan.after(step))
        case Retry():
            return event_after_failure(tried, alone=True)
        case Waiting():
            return tried.outbox_row(outcome.notice, target=None) if outcome.notice else None
        case Unknown():  # as in company: what may have happened outside is never given up
            return event_after_failure(tried, alone=False)
    raise TypeError(f"{step} returned {outcome!r}, which is no outcome.")


def _pause(outcome: Retry | Unknown | Waiting, usual: float) -> float:
    """Return the seconds until a step is tried again."""
    match outcome:
        case Unknown(after=longer):
            return max(usual, longer)
        case Waiting(pause=pause):
            return pause * random.uniform(0.5, 1.0)  # noqa: S311  no secret: a crowd disperses
    return usual
