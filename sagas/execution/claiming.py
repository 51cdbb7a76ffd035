"""Claiming a step for a batch of messages, in the first transaction of a run."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sagas.definition.attempt import StepAttempt
from sagas.definition.events import OnHold
from sagas.definition.handlers import Delivery, StepDefinition
from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.execution.compensation import bar_action
from sagas.execution.contexts import read_context
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox
from sagas.storage.registry import Service

__all__ = ["Claimed", "ClaimedBatch", "claim"]


class Claimed(NamedTuple):
    """A message whose inbox row this run has claimed, and the delivery that its handler sees."""

    message: Message
    delivery: Delivery[Any]

    @property
    def saga(self) -> UUID:
        """The saga of the message."""
        return self.message.saga


class ClaimedBatch(NamedTuple):
    """The messages to handle, and the messages that a hold stops. All others are duplicates."""

    claimed: list[Claimed]
    held: list[Message]


def claim(
    service: Service,
    definition: StepDefinition,
    plan: Plan,
    messages: Sequence[Message],
    *,
    final: bool,
) -> ClaimedBatch:
    """Claim the inbox rows of messages, and bar the action of an undo.

    `final`: this transaction completes the step. For each held message, write a due outbox row that
    tells the timeline. Raises `UnreadableContext`.
    """
    step = definition.name
    claims = inbox.claim(service, step, plan, messages, final=final)
    ours = [message for message in messages if message.saga in claims.attempts]
    held = [message for message in messages if message.saga in claims.held]

    duplicates = len(messages) - len(ours) - len(held)
    instrumentation.record_skipped(service.alias, step, duplicates=duplicates, held=len(held))
    _write_on_hold(service, step, plan, held)

    action = bar_action(service, plan, step, ours)
    claimed = [
        Claimed(
            message,
            Delivery(
                saga=message.saga,
                context=read_context(definition, message),
                started_at=message.started_at,
                attempt=claims.attempts[message.saga],
                action_done=message.saga in action.done,
                pivot_open=message.saga in action.pivot_open,
            ),
        )
        for message in ours
    ]
    return ClaimedBatch(claimed, held)


def _write_on_hold(service: Service, step: str, plan: Plan, messages: Sequence[Message]) -> None:
    event = OnHold(step=step)
    rows = [
        StepAttempt(plan, step, message, message.attempt + 1).outbox_row(event, target=None)
        for message in messages
    ]
    outbox.write(service, plan, rows, leased=False)
