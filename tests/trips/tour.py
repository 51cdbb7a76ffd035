"""A trip with optional steps: a guide, who is asked outside, and thanks at the end."""

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from sagas.definition.events import Event
from sagas.definition.handlers import Batch, ExternalStep, Outcome, action
from sagas.definition.plan import Saga, Step

from .steps import Began, Traveller, _each, behaviour, calls

__all__ = ["BANK_TRIP", "TOUR", "Guided", "Thanked"]


class Guided(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.guided"


class Thanked(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "trip.thanked"


@action("trips.guide", accepts=Traveller)
class Guide(ExternalStep[Traveller, UUID, Outcome]):
    """Asks for a guide. The behaviour for `trips.guide/call` is the answer."""

    def prepare(self, batch: Batch[Traveller]) -> Sequence[UUID]:
        return [delivery.saga for delivery in batch]

    def call(self, requests: Sequence[UUID]) -> Sequence[Outcome]:
        calls.append(("trips.guide/call", tuple(requests)))
        return [
            behaviour.get(("trips.guide/call", saga), lambda _: None)(saga) or Guided()
            for saga in requests
        ]

    def record(self, batch: Batch[Traveller], answers: Sequence[Outcome]) -> Sequence[Outcome]:
        return answers


@action("trips.thank", accepts=Traveller)
def thank(batch: Batch[Traveller]) -> list[Outcome]:
    return _each("trips.thank", batch, lambda _: Thanked())


TOUR = Saga(
    "guided_trip",
    Step("trips.book", undo="trips.unbook"),
    Step("trips.confirm", pivot=True),
    Step("trips.guide", optional=True),
    Step("trips.travel"),
    Step("trips.thank", optional=True),
    abort="trips.drop",
    started_by=Began,
)

# Its pivot asks a bank.
BANK_TRIP = Saga(
    "bank_trip",
    Step("trips.book", undo="trips.unbook"),
    Step("trips.pay", pivot=True),
    Step("trips.travel"),
    abort="trips.drop",
    started_by=Began,
)
