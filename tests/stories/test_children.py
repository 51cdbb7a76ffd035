"""A saga that starts another one: both ends, a cancel on each side of the child's pivot."""

import pytest

from sagas import cancel, start
from sagas.testing import story
from tests.trips.holidays import HOLIDAY, VISIT
from tests.trips.models import Cruise, Effect, Outbox, Trip
from tests.trips.steps import Began, CalledOff

pytestmark = pytest.mark.django_db

TRIP_STEPS = ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]


def holiday():
    return story(HOLIDAY, lambda: start(HOLIDAY, Cruise(), Began(name="Ada")))


def facts(told, type_):
    return Outbox.objects.get(saga=told.saga, type=type_).data


@pytest.mark.parametrize("seed", range(3))
def test_a_holiday_goes_on_when_its_tour_has_ended(seed):
    told = holiday().in_any_order(seed).with_duplicates().run()
    told.expect(ended=None, waiting=["trips.tour"])
    tour = told.child("trips.tour").in_any_order(seed).with_duplicates()
    assert (tour.tracked.parent_saga, tour.tracked.parent_step) == (told.saga, "trips.tour")
    tour.run().expect(ended="done", done=TRIP_STEPS)
    told.run().expect(ended="done", done=["trips.book", "trips.tour", "trips.settle"])
    assert told.events.count("holiday.toured") == 1
    assert facts(told, "holiday.toured")["followed"] > 0
    assert Trip.objects.count() == 1


def test_a_tour_that_fails_is_a_refusal_of_its_step():
    told = holiday().run()
    told.child("trips.tour").when("trips.confirm").refuses().run().expect(ended="cancelled")
    told.run().expect(ended="cancelled", refused=["trips.tour"], undone=["trips.book"])
    assert facts(told, "holiday.not_toured")["code"] == "refused"


def test_a_cancel_before_the_pivot_of_the_tour_cancels_the_tour():
    told = holiday().run()
    tour = told.child("trips.tour").run(until="trips.pay")
    told.cancel(CalledOff()).run().expect(ended=None, waiting=["trips.tour.undo"])
    tour.run().expect(ended="cancelled", undone=["trips.pay", "trips.book"])
    told.run().expect(ended="cancelled")
    assert "saga.child_closed" in told.events
    assert not Effect.objects.filter(step="trips.tour.undo").exists()


def test_a_cancel_after_the_pivot_of_the_tour_waits_for_it_and_undoes_it():
    told = holiday().run()
    tour = told.child("trips.tour").run(until="trips.confirm")
    told.cancel(CalledOff()).run().expect(ended=None, waiting=["trips.tour.undo"])
    tour.run().expect(ended="done")
    told.run().expect(ended="cancelled")
    assert "holiday.untoured" in told.events
    assert Effect.objects.filter(trip=told.saga, step="trips.tour.undo").count() == 1


def test_a_step_behind_the_tour_that_refuses_undoes_the_tour():
    told = holiday().run()
    told.child("trips.tour").run()
    told.when("trips.settle").refuses().run()
    told.expect(ended="cancelled", refused=["trips.settle"], undone=["trips.tour", "trips.book"])


def test_a_holiday_that_is_cancelled_before_its_tour_starts_none():
    told = holiday().run(until="trips.book").newest_first().cancel(CalledOff()).run()
    told.expect(ended="cancelled")
    assert not Trip.objects.exists()


def test_a_tour_that_is_cancelled_by_itself_is_a_refusal_too():
    told = holiday().run()
    told.child("trips.tour").run(until="trips.book").cancel(CalledOff()).run()
    told.run().expect(ended="cancelled", refused=["trips.tour"])
    assert facts(told, "holiday.not_toured")["code"] == "called_off"


@pytest.mark.parametrize(("fails", "event"), [(False, "visit.went_back"), (True, "visit.stayed")])
def test_behind_the_pivot_the_saga_goes_on_with_either_end(fails, event):
    told = story(VISIT, lambda: start(VISIT, Cruise(), Began(name="Ada"))).run()
    back = told.child("trips.way_back")
    if fails:
        cancel(back.tracked, CalledOff())
    back.run()
    told.run().expect(ended="done", done=["trips.confirm", "trips.way_back", "trips.travel"])
    assert event in told.events


def test_only_a_step_that_starts_a_child_has_one():
    with pytest.raises(ValueError, match="starts no child"):
        holiday().child("trips.book")
    with pytest.raises(LookupError, match="has no row"):
        holiday().child("trips.tour")
