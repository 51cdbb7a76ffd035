"""Trips that other sagas start: a holiday with a tour, and a visit with a way back."""

from typing import ClassVar

from sagas.children import Child, child
from sagas.definition.events import Event, Refusal
from sagas.definition.handlers import Delivery, action
from sagas.definition.plan import Saga, Step

from .models import Effect, Trip
from .saga import TRIP
from .steps import Began, Traveller

__all__ = ["HOLIDAY", "VISIT"]


class Toured(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "holiday.toured"
    followed: int


class NotToured(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "holiday.not_toured"


class Settled(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "holiday.settled"


class NotSettled(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "holiday.not_settled"


class Untoured(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "holiday.untoured"


class WentBack(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "visit.went_back"


class Stayed(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "visit.stayed"
    code: str
    detail: str


def begin_trip(traveller: Delivery[Traveller]) -> tuple[Trip, Began]:
    return Trip(), Began(name=traveller.context.name)


def toured(trip: Trip) -> Toured:
    return Toured(followed=trip.followed)


def undo_tour(traveller: Delivery[Traveller]) -> Untoured:
    Effect.objects.create(trip=traveller.saga, step="trips.tour.undo", attempt=1)
    return Untoured()


child("trips.tour", saga=TRIP, begin=begin_trip, done=toured, failed=NotToured, undo=undo_tour)
child("trips.way_back", saga=TRIP, begin=begin_trip, done=WentBack(), failed=Stayed)


@action("trips.settle", refusal=NotSettled)
def settle(traveller: Delivery[Traveller]) -> Settled:
    return Settled()


HOLIDAY = Saga(
    "holiday",
    Step("trips.book", undo="trips.unbook"),
    Child("trips.tour"),
    Step("trips.settle", pivot=True),
    abort="trips.drop",
    started_by=Began,
)

VISIT = Saga(
    "visit",
    Step("trips.confirm", pivot=True),
    Child("trips.way_back"),
    Step("trips.travel"),
    abort="trips.drop",
    started_by=Began,
)
