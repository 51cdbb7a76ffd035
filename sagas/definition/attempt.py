"""One attempt at a step, and the outbox rows that it writes."""

from typing import Any, NamedTuple

from sagas.definition.events import Event, Refusal
from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import Plan

__all__ = ["StepAttempt"]


class StepAttempt(NamedTuple):
    """One attempt at a step, for one message. `attempt` counts from 1."""

    plan: Plan
    step: str
    message: Message
    attempt: int

    def outbox_row(
        self, event: Event, *, target: str | None, context: dict[str, Any] | None = None
    ) -> OutboxRow:
        """Return the outbox row that publishes an event of this attempt.

        `target` is the next step, or None. `context` replaces the context of the message.
        """
        message = self.message

        return OutboxRow(
            saga=message.saga,
            started_at=message.started_at,
            seq=message.seq + 1,
            type=event.type,
            step=self.step,
            step_attempt=self.attempt,
            data=event.facts(),
            context=context or message.context,
            plan=self.plan,
            target=target,
            headers=message.headers,
        )

    def refusal_row(self, event: Refusal, *, target: str) -> OutboxRow:
        """Return the outbox row of a refusal. It adds the failure to the context.

        A failure that is in the context already stays, because the first refusal is the reason why
        the saga is undone.
        """
        failure = {"code": event.code, "detail": event.detail}
        context = {"failure": failure, **self.message.context}

        return self.outbox_row(event, target=target, context=context)
