"""A saga that waits for a signal: early, in time, twice, after the expiry, and after a cancel."""

import pytest
from django.db import transaction

from sagas import SignalResult, start
from sagas.ids import uuid7
from sagas.testing import story
from tests.trips.models import Outbox, Trip
from tests.trips.saga import REVIEWED_TRIP
from tests.trips.steps import Arrived, Began, CalledOff, Rejected, Reviewed

pytestmark = pytest.mark.django_db

ACCEPTED, REPEATED, TOO_LATE = SignalResult

DONE = ["trips.book", "trips.review", "trips.confirm", "trips.arrive", "trips.travel"]


def begin() -> Trip:
    with transaction.atomic():
        return start(REVIEWED_TRIP, Trip(id=uuid7()), Began())


def trip():
    """Begin the story of a reviewed trip."""
    return story(REVIEWED_TRIP, begin)


def test_a_trip_waits_for_each_signal_and_goes_on():
    told = trip().run().expect(ended=None, waiting=["trips.review"], done=["trips.book"])
    told.signals("trips.review", Reviewed(score=3)).run()
    told.expect(ended=None, waiting=["trips.arrive"])
    told.signals("trips.arrive", Arrived()).run().expect(ended="done", done=DONE)
    assert told.signal_results == [ACCEPTED, ACCEPTED]


@pytest.mark.parametrize("seed", range(5))
def test_early_signals_are_the_answers_when_the_saga_gets_there(seed):
    told = trip().in_any_order(seed).with_duplicates()
    told.signals("trips.arrive", Arrived()).signals("trips.review", Reviewed(score=3))
    told.run().expect(ended="done", done=DONE)
    assert told.events.count("trip.reviewed") == told.events.count("trip.arrived") == 1
    assert "saga.waits_for_signal" not in told.events


def test_the_first_of_two_signals_counts():
    told = trip().run().signals("trips.review", Reviewed(score=3))
    told.signals("trips.review", Rejected(code="no", detail="No.")).run()
    told.signals("trips.review", Reviewed(score=4)).expect(waiting=["trips.arrive"])
    assert told.signal_results == [ACCEPTED, REPEATED, REPEATED]


def test_a_refusal_by_signal_undoes_the_steps_before_the_wait():
    told = trip().run().signals("trips.review", Rejected(code="odd", detail="It looks odd.")).run()
    told.expect(ended="cancelled", refused=["trips.review"], undone=["trips.book"])


def test_a_wait_before_the_pivot_that_expires_undoes_the_saga():
    told = trip().run().expires("trips.review").run()
    told.expect(ended="cancelled", refused=["trips.review"], undone=["trips.book"])
    told.signals("trips.review", Reviewed(score=3)).expect(ended="cancelled")
    assert told.signal_results == [TOO_LATE]
    assert "trip.review_expired" in told.events


def test_no_signal_is_taken_from_the_moment_of_the_expiry():
    told = trip().run().expires("trips.review").signals("trips.review", Reviewed(score=3)).run()
    told.expect(ended="cancelled", refused=["trips.review"])
    assert told.signal_results == [TOO_LATE]


def test_a_wait_after_the_pivot_that_expires_lets_the_saga_go_on():
    told = trip().signals("trips.review", Reviewed(score=3)).run().expires("trips.arrive").run()
    told.expect(ended="done", done=DONE)
    assert "trip.arrival_unknown" in told.events


def test_a_cancel_closes_the_wait_at_once():
    told = trip().run().cancel(CalledOff()).signals("trips.review", Reviewed(score=3))
    told.run().expect(ended="cancelled", undone=["trips.review", "trips.book"])
    told.signals("trips.review", Reviewed(score=3)).signals("trips.arrive", Arrived())
    assert told.signal_results == [TOO_LATE, TOO_LATE, TOO_LATE]


def test_a_cancel_overtakes_an_early_signal():
    told = trip().signals("trips.review", Reviewed(score=3)).cancel(CalledOff()).run()
    told.expect(ended="cancelled", refused=[])
    assert told.signal_results == [ACCEPTED]
    assert "trip.reviewed" not in told.events


def test_a_step_after_the_wait_that_refuses_undoes_what_was_before():
    told = trip().signals("trips.review", Reviewed(score=3)).when("trips.confirm").refuses().run()
    told.expect(ended="cancelled", refused=["trips.confirm"])
    assert "saga.wait_closed" in told.events


def test_a_saga_that_does_not_wait_cannot_expire():
    with pytest.raises(
        AssertionError, match=r"waits neither for a signal nor for a time at 'trips\.review'"
    ):
        trip().expires("trips.review")


def test_later_steps_can_read_the_answer_of_a_wait_before_the_pivot():
    told = trip().signals("trips.review", Reviewed(score=3)).signals("trips.arrive", Arrived())
    told.run().expect(ended="done")
    [travelled] = Outbox.objects.filter(saga=told.saga, type="trip.travelled")
    assert travelled.context["results"] == {"trips.review": {"score": 3, "note": ""}}
