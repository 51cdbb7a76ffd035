"""Messages between services, and the outbox rows and timeline entries that belong to them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from sagas.definition.events import is_notice
from sagas.definition.plan import Plan
from sagas.ids import uuid7

__all__ = ["Message", "OutboxRow", "TimelineEntry", "to_json"]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A saga's request to a step. `attempt` is the number of attempts counted before this one."""

    id: UUID
    saga: UUID
    started_at: datetime
    seq: int
    context: dict[str, Any]
    attempt: int = 0
    headers: dict[str, str] = {}


class OutboxRow(msgspec.Struct, kw_only=True):
    """An outbox row in memory: an event, and the message to the next step if there is one."""

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
        """Whether this is the saga's first event. `start` has already put it into the timeline."""
        return self.seq == 0

    def message(self) -> Message:
        """Return the message to the next step."""
        return Message(
            id=self.id,
            saga=self.saga,
            started_at=self.started_at,
            seq=self.seq,
            context=self.context,
            headers=self.headers,
        )

    def entry(self, service: str) -> "TimelineEntry":
        """Return this event as a timeline entry. `service` is the service that wrote it."""
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
        is_last = self.target is None and self.step in {self.plan.last, self.plan.abort}
        return is_last and not is_notice(self.type)


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One event in a saga's timeline. `ends`: it is the last one, because the saga has ended."""

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
    """Return a struct or plain data as JSON text, for a JSON column or parameter."""
    return _encoder.encode(value).decode()
