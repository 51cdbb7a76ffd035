"""Claiming a step for a batch of messages, in the first transaction of a run."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sagas.definition.attempt import StepAttempt
from sagas.definition.events import OnHold
from sagas.definition.handlers import Delivery, StepDefinition
from sagas.definition.hold_scope import check_destination
from sagas.definition.limits import Limits
from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.execution.compensation import bar_action
from sagas.execution.contexts import read_context
from sagas.execution.wait_states import with_wait_states
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox
from sagas.storage.destination_holds import DestinationHolds
from sagas.storage.registry import Service

__all__ = ["Claimed", "ClaimedBatch", "claim", "write_on_hold"]


class Claimed(NamedTuple):
    """A message whose inbox row this run has claimed, and the delivery that its handler sees.

    `claim` is the token of the row, or None if the claim is final. `destination` is the outside
    system that the request goes to, once it is prepared; None if the request has none.
    """

    message: Message
    delivery: Delivery[Any]
    claim: UUID | None = None
    destination: str | None = None

    def with_destination(self, destination: str | None) -> "Claimed":
        """Return the message with the destination of its request.

        Raises `WrongDestination`, before any call, for a name that cannot be stored.
        """
        if destination is not None:
            check_destination(destination)
        return self._replace(destination=destination)

    @property
    def saga(self) -> UUID:
        """The saga of the message."""
        return self.message.saga


class ClaimedBatch(NamedTuple):
    """The messages to handle, and the messages that a hold stops. All others are duplicates.

    `claim` is the token of the claimed rows, or None if the claim is final. `limits` are the limits
    of calls that operators have set, and `destination_holds` the destinations of the step that are
    on hold.
    """

    claimed: list[Claimed]
    held: list[Message]
    claim: UUID | None
    limits: Limits | None
    destination_holds: DestinationHolds


def claim(
    service: Service,
    definition: StepDefinition,
    plan: Plan,
    messages: Sequence[Message],
    *,
    final: bool,
    lock_wait_ms: int = inbox.LOCK_WAIT_MS,
) -> ClaimedBatch:
    """Claim the inbox rows of messages, and bar the action of an undo.

    `final`: this transaction completes the step. `lock_wait_ms` limits the wait for each of its
    locks, in milliseconds. For each held message, write a due outbox row that
    tells the timeline. Raises `UnreadableContext`.
    """
    step = definition.name
    claims = inbox.claim(service, step, plan, messages, final=final, lock_wait_ms=lock_wait_ms)
    ours = [message for message in messages if message.saga in claims.attempts]
    held = [message for message in messages if message.saga in claims.held]

    duplicates = len(messages) - len(ours) - len(held)
    instrumentation.record_skipped(service.alias, step, duplicates=duplicates, held=len(held))
    write_on_hold(service, step, plan, held)

    action = bar_action(service, plan, step, ours)
    deliveries = [
        Delivery(
            saga=message.saga,
            context=read_context(definition, message, own=action.results.get(message.saga)),
            started_at=message.started_at,
            attempt=_failed_attempts(claims, message.saga) + 1,
            uncounted=claims.uncounted[message.saga],
            action_done=message.saga in action.done,
            pivot_open=message.saga in action.pivot_open,
        )
        for message in ours
    ]
    claimed = [
        Claimed(message, delivery, claim=claims.claim)
        for message, delivery in zip(
            ours, with_wait_states(service, definition, deliveries), strict=True
        )
    ]
    return ClaimedBatch(claimed, held, claims.claim, claims.limits, claims.destination_holds)


def write_on_hold(service: Service, step: str, plan: Plan, messages: Sequence[Message]) -> None:
    """Write a due outbox row for each held message, which tells the timeline."""
    event = OnHold(step=step)
    rows = [
        StepAttempt(plan, step, message, message.attempt + 1).outbox_row(event, target=None)
        for message in messages
    ]
    outbox.write(service, plan, rows, leased=False)


def _failed_attempts(claims: inbox.Claims, saga: UUID) -> int:
    """Return how many attempts have failed before this one by a fault of their saga."""
    return max(0, claims.attempts[saga] - 1 - claims.uncounted[saga])
