"""Steps that leave an `Effect`, unless a test gives a step another behaviour for a trip.

In its own process, a test uses `behaviour`. In a worker, the name of the traveller is the
instruction, for example "raise in trips.book".
"""

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from sagas.definition.events import Event, Notice, Refusal
from sagas.definition.handlers import (
    Batch,
    Delivery,
    ExternalStep,
    Outcome,
    Unknown,
    Waiting,
    action,
    undo,
)

from .models import Effect

Behaviour = Callable[[Delivery[Any]], Outcome | None]

behaviour: dict[tuple[str, UUID], Behaviour] = {}
calls: list[tuple[str, tuple[UUID, ...]]] = []


class Traveller(msgspec.Struct, frozen=True):
    name: str


class Began(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.began"
    name: str = "Ada"


class Booked(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.booked"


class NotBooked(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.not_booked"


class Unbooked(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.unbooked"
    applied: bool


class Paid(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.paid"


class Asked(Notice, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.asked"


class NotPaid(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.not_paid"


class Refunded(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.refunded"
    applied: bool


class Confirmed(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.confirmed"


class NotConfirmed(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.not_confirmed"


class Travelled(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.travelled"


class Dropped(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.dropped"


class CalledOff(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.called_off"
    code: str = "called_off"
    detail: str = "The traveller stays at home."


def _each(
    step: str, batch: Batch[Any], ordinary: Callable[[Delivery[Any]], Outcome]
) -> list[Outcome]:
    calls.append((step, tuple(delivery.saga for delivery in batch)))
    outcomes = []
    for delivery in batch:
        _act_out(delivery.context.name, step)
        instructed = behaviour.get((step, delivery.saga), lambda _: None)(delivery)
        if instructed is None:
            Effect.objects.create(trip=delivery.saga, step=step, attempt=delivery.attempt)
        outcomes.append(instructed or ordinary(delivery))
    return outcomes


def _act_out(name: str, step: str) -> None:
    if name == f"raise in {step}":
        raise RuntimeError(f"told to {name}")
    if name == f"kill in {step}":
        os.kill(os.getpid(), signal.SIGKILL)


@action("trips.book", accepts=Traveller, refusal=NotBooked)
def book(batch: Batch[Traveller]) -> list[Outcome]:
    return _each("trips.book", batch, lambda _: Booked())


@undo("trips.unbook", accepts=Traveller)
def unbook(batch: Batch[Traveller]) -> list[Outcome]:
    return _each("trips.unbook", batch, lambda delivery: Unbooked(applied=delivery.action_done))


@action("trips.pay", accepts=Traveller, refusal=NotPaid)
class Pay(ExternalStep[Traveller, UUID, Outcome]):
    """Asks a bank. The behaviour for `trips.pay/call` is its answer."""

    def prepare(self, batch: Batch[Traveller]) -> Sequence[UUID]:
        return [delivery.saga for delivery in batch]

    def call(self, requests: Sequence[UUID]) -> Sequence[Outcome]:
        calls.append(("trips.pay/call", tuple(requests)))
        return [
            behaviour.get(("trips.pay/call", saga), lambda _: None)(saga) or Paid()
            for saga in requests
        ]

    def record(self, batch: Batch[Traveller], answers: Sequence[Outcome]) -> Sequence[Outcome]:
        asked = dict(zip((delivery.saga for delivery in batch), answers, strict=True))
        return [
            asked[delivery.saga]
            if isinstance(asked[delivery.saga], Refusal | Unknown | Waiting)
            else outcome
            for delivery, outcome in zip(
                batch, _each("trips.pay", batch, lambda _: Paid()), strict=True
            )
        ]


@undo("trips.refund", accepts=Traveller)
def refund(batch: Batch[Traveller]) -> list[Outcome]:
    return _each("trips.refund", batch, lambda delivery: Refunded(applied=delivery.action_done))


@action("trips.confirm", accepts=Traveller, refusal=NotConfirmed)
def confirm(batch: Batch[Traveller]) -> list[Outcome]:
    return _each("trips.confirm", batch, lambda _: Confirmed())


@action("trips.travel", accepts=Traveller)
def travel(batch: Batch[Traveller]) -> list[Outcome]:
    return _each("trips.travel", batch, lambda _: Travelled())


@undo("trips.drop", accepts=Traveller)
def drop(batch: Batch[Traveller]) -> list[Outcome]:
    return _each("trips.drop", batch, lambda _: Dropped())
