"""A saga that waits for a time: it goes on by itself, and a cancel before the pivot closes it."""

import pytest

from sagas.testing import story
from tests.trips.harness import begin
from tests.trips.saga import TIMED_TRIP
from tests.trips.steps import CalledOff

pytestmark = pytest.mark.django_db

DONE = ["trips.book", "trips.rest", "trips.confirm", "trips.remind", "trips.travel"]


def trip():
    """Begin the story of a trip with timers."""
    return story(TIMED_TRIP, lambda: begin(declaration=TIMED_TRIP)[0])


@pytest.mark.parametrize("seed", range(3))
def test_a_trip_goes_on_when_each_time_comes(seed):
    told = trip().in_any_order(seed).with_duplicates().run().expect(waiting=["trips.rest"])
    told.run().expect(ended=None, waiting=["trips.rest"])
    told.expires("trips.rest").run().expect(ended=None, waiting=["trips.remind"])
    told.expires("trips.remind").run().expect(ended="done", done=DONE)
    assert told.events.count("saga.timer_elapsed") == told.events.count("trip.reminded") == 1


def test_a_cancel_closes_a_timer_and_undoes_what_was_before():
    told = trip().run().cancel(CalledOff()).run()
    told.expect(ended="cancelled", undone=["trips.rest", "trips.book"], waiting=[])
    assert "saga.timer_elapsed" not in told.events


def test_a_cancel_after_the_pivot_leaves_the_timer():
    told = trip().run().expires("trips.rest").run().cancel(CalledOff()).run()
    told.expect(ended=None, waiting=["trips.remind"])
