"""Steps that leave an `Effect`, unless a test gives a step another behaviour for a trip.

In its own process, a test uses `behaviour`. In a worker, the name of the traveller is the
instruction, for example "raise in trips.book".
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
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
    wait,
)
from sagas.definition.timers import timer

from .models import Effect

Behaviour = Callable[[Delivery[Any]], Outcome | None]

behaviour: dict[tuple[str, UUID], Behaviour] = {}
calls: list[tuple[str, tuple[UUID, ...]]] = []

# The outside systems that requests of trips.pay fly to. All other requests answer at once.
destinations: dict[UUID, str] = {}


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


def _fly_if_told(delivery: Delivery[Traveller]) -> None:
    """Let the payment of a traveller fly to a bank.

    For "fly to FOLDER" it answers once a file `answer` is in the folder. For "ask BANK in FOLDER"
    the bank of that name notes the time there. It gives no answer while a file `BANK is silent` is
    in the folder.
    """
    if delivery.context.name.startswith("ask "):
        bank, _, noted_in = delivery.context.name.removeprefix("ask ").partition(" in ")
        destinations[delivery.saga] = bank
        behaviour["trips.pay/call", delivery.saga] = partial(_note_time, Path(noted_in), bank)
    elif folder := folder_to_fly_to(delivery):
        destinations[delivery.saga] = "bank"
        behaviour["trips.pay/call", delivery.saga] = partial(_await_file, folder)


def folder_to_fly_to(delivery: Delivery[Traveller]) -> Path | None:
    """Return the FOLDER of a traveller named "fly to FOLDER"."""
    command, _, folder = delivery.context.name.partition(" to ")
    return Path(folder) if command == "fly" else None


def _await_file(folder: Path, trip: UUID) -> None:
    (folder / f"asked-{trip}").touch()
    while not (folder / "answer").exists():
        time.sleep(0.01)


def _note_time(folder: Path, bank: str, trip: UUID) -> Outcome | None:
    name = bank.replace("/", "-")
    (folder / f"{name} {trip}").write_text(str(time.time()))
    with (folder / f"calls of {name}").open("a") as calls_of_bank:
        calls_of_bank.write(f"{trip}\n")
    is_silent = (folder / f"{name} is silent").exists()
    return Unknown(f"{bank} gave no answer") if is_silent else None


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
        for delivery in batch:
            _fly_if_told(delivery)
        return [delivery.saga for delivery in batch]

    def destination(self, request: UUID) -> str | None:
        return destinations.get(request)

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


class Reviewed(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.reviewed"
    score: int
    note: str = ""


class Rejected(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.rejected"


class ReviewExpired(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.review_expired"


class Arrived(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.arrived"


class ArrivalUnknown(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.arrival_unknown"


wait(
    "trips.review",
    answer=Reviewed,
    refusal=Rejected,
    expires=timedelta(days=3),
    expired=ReviewExpired(code="review_expired", detail="The trip was not reviewed in time."),
)
wait("trips.arrive", answer=Arrived, expires=timedelta(days=30), expired=ArrivalUnknown())


class Reminded(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.reminded"


def rest_is_over(traveller: Delivery[Traveller]) -> datetime:
    """Return the time at which a traveller goes on: an hour after the start of the trip."""
    _act_out(traveller.context.name, "trips.rest")
    calls.append(("trips.rest/until", (traveller.saga,)))
    return traveller.started_at + timedelta(hours=1)


timer("trips.rest", until=rest_is_over)
timer("trips.remind", after=timedelta(days=7), event=Reminded())
timer("trips.nap", after=timedelta(seconds=1))
