"""One attempt at a step, and the outbox rows that it writes."""

from typing import Any, NamedTuple

from sagas.definition import handlers
from sagas.definition.events import Event, Refusal
from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import Plan
from sagas.definition.results import with_result

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

    def done_row(self, event: Event, *, target: str | None) -> OutboxRow:
        """Return the outbox row of a done step, with its result in the context if it returns one.

        Raises TypeError for another event than the step declares.
        """
        row = self.outbox_row(event, target=target)
        definition = handlers.definition(self.step)
        if definition is None or definition.returns is None:
            return row

        if not isinstance(event, definition.returns):
            raise TypeError(
                f"{self.step} is registered with returns={definition.returns.__name__}, but "
                f"returned {event!r}."
            )
        if target is not None:
            row.context = with_result(row.context, self.step, row.data)
        return row

    def refusal_row(self, event: Refusal, *, target: str) -> OutboxRow:
        """Return the outbox row of a refusal. It adds the failure to the context.

        A failure that is in the context already stays, because the first refusal is the reason why
        the saga is undone.
        """
        failure = {"code": event.code, "detail": event.detail}
        context = {"failure": failure, **self.message.context}

        return self.outbox_row(event, target=target, context=context)
