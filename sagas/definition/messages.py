"""What travels between services: the message a step is sent, and the row of the outbox it comes
from.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from sagas.definition.events import is_notice
from sagas.definition.plan import Plan
from sagas.ids import uuid7

__all__ = ["Message", "OutboxRow", "TimelineEntry", "to_json"]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One saga's request to a step. `attempt` is how many tries of the step have already been
    counted.
    """

    id: UUID
    saga: UUID
    started_at: datetime
    seq: int
    context: dict[str, Any]
    attempt: int = 0
    headers: dict[str, str] = {}


class OutboxRow(msgspec.Struct, kw_only=True):
    """A row of an outbox in memory: the event, and the message to the next step, if there is
    one.
    """

    saga: UUID
    started_at: datetime
    seq: int
    type: str
    step: str
    step_attempt: int
    data: dict[str, Any]
    context: dict[str, Any]
    plan: Plan
    target: str | None
    headers: dict[str, str]
    id: UUID = msgspec.field(default_factory=uuid7)
    created_at: datetime | None = None
    attempts: int = 0

    @property
    def begins(self) -> bool:
        """Whether this is the event its saga begins with. The timeline has it from that moment."""
        return self.seq == 0

    def message(self) -> Message:
        """Return the message that carries the saga on."""
        return Message(
            id=self.id,
            saga=self.saga,
            started_at=self.started_at,
            seq=self.seq,
            context=self.context,
            headers=self.headers,
        )

    def entry(self, service: str) -> "TimelineEntry":
        """Return what the timeline shows of this event."""
        return TimelineEntry(
            id=self.id,
            saga=self.saga,
            seq=self.seq,
            type=self.type,
            service=service,
            step=self.step,
            attempt=self.step_attempt,
            at=self.created_at,
            detail=self.data,
            ends=self._ends_the_saga(),
            headers=self.headers,
        )

    def _ends_the_saga(self) -> bool:
        last = self.target is None and self.step in {self.plan.last, self.plan.abort}
        return last and not is_notice(self.type)


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a saga's timeline. `ends`: nothing follows this event, the saga is over."""

    id: UUID
    saga: UUID
    seq: int
    type: str
    service: str
    step: str
    attempt: int
    at: datetime | None
    detail: dict[str, Any]
    ends: bool = False
    headers: dict[str, str] = {}


_encoder = msgspec.json.Encoder()


def to_json(value: Any) -> str:
    """Encode a struct or plain data as JSON text, as the JSON columns take it."""
    return _encoder.encode(value).decode()
