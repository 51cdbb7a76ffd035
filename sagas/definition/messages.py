"""Messages between services, and the outbox rows and timeline entries that belong to them."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from sagas.definition.events import is_notice
from sagas.definition.plan import Plan
from sagas.ids import uuid7

__all__ = ["Message", "OutboxRow", "TimelineEntry", "Unreadable", "decode_each", "to_json"]

T = TypeVar("T")
Encoded = TypeVar("Encoded")


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A saga's request to a step. `attempt` is the number of attempts counted before this one.

    `destination` is the outside system for which the message was postponed, empty if unknown.
    `branch` is the branch of a parallel group that sent the message to the step behind the group.
    It is empty once the results of all branches are in the context.
    """

    id: UUID
    saga: UUID
    started_at: datetime
    seq: int
    context: dict[str, Any]
    attempt: int = 0
    headers: dict[str, str] = {}
    destination: str = ""
    branch: str = ""


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
        is_arrival = self.target is not None and self.step in self.plan.joined_by(self.target)
        return Message(
            id=self.id,
            saga=self.saga,
            started_at=self.started_at,
            seq=self.seq,
            context=self.context,
            headers=self.headers,
            branch=self.step if is_arrival else "",
        )

    def recipients(self) -> tuple[str, ...]:
        """Return the steps that get the message: all branches, if it goes to a parallel group."""
        return self.plan.recipients(self.target) if self.target is not None else ()

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
            beside=self.plan.siblings(self.step),
        )

    def _ends_the_saga(self) -> bool:
        is_last = self.target is None and self.step in {self.plan.last, self.plan.abort}
        return is_last and not is_notice(self.type)


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event in a saga's timeline. `ends`: it is the last one, because the saga has ended.

    `beside` are the other branches, if the step is a branch of a parallel group.
    """

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
    beside: tuple[str, ...] = ()


class Unreadable(NamedTuple, Generic[Encoded]):
    """A row or message that cannot be decoded, as it was received, and the error."""

    encoded: Encoded
    reason: str


def decode_each(
    encoded: Iterable[Encoded], decode: Callable[[Encoded], T]
) -> tuple[list[T], list[Unreadable[Encoded]]]:
    """Decode rows or messages one by one; return the decoded and the unreadable ones.

    Use it wherever a batch is read, so that an unreadable item delays no other item. The caller
    parks or reports the unreadable items.
    """
    decoded: list[T] = []
    unreadable: list[Unreadable[Encoded]] = []
    for item in encoded:
        try:
            decoded.append(decode(item))
        except Exception as error:  # damaged data may raise any error
            unreadable.append(Unreadable(item, repr(error)))

    return decoded, unreadable


_encoder = msgspec.json.Encoder()


def to_json(value: Any) -> str:
    """Return a struct or plain data as JSON text, for a JSON column or parameter."""
    return _encoder.encode(value).decode()
