from legacy.models import Trip
from legacy.saga import Began
from sagas import Delivery, Event, Refusal, action, undo


class Moved(Event, frozen=True):
    type = "trip.moved"


class NotMoved(Refusal, frozen=True):
    type = "trip.not_moved"


def _set(trip: Delivery[Began], status: str) -> Moved:
    Trip.objects.filter(pk=trip.saga).update(status=status)
    return Moved()


@action("legacy.book", refusal=NotMoved)
def book(trip: Delivery[Began]) -> Moved:
    return _set(trip, "booked")


@undo("legacy.unbook")
def unbook(trip: Delivery[Began]) -> Moved:
    return _set(trip, "unbooked")


@action("legacy.confirm", refusal=NotMoved)
def confirm(trip: Delivery[Began]) -> Moved:
    return _set(trip, "confirmed")


@undo("legacy.drop")
def drop(trip: Delivery[Began]) -> Moved:
    return _set(trip, "dropped")
