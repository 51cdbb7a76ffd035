"""A parallel group whose branches wait: one for a time, one for the end of a child saga."""

from datetime import timedelta

import pytest

from sagas import start
from sagas.children import Child
from sagas.definition.plan import Parallel, Saga, Step
from sagas.definition.timers import Timer, timer
from sagas.testing import story
from tests.gifts.harness import gift
from tests.trips.models import Cruise, Trip
from tests.trips.steps import Began, CalledOff

pytestmark = pytest.mark.django_db(databases="__all__")

__all__ = ["gift"]


@pytest.fixture
def told(gift, monkeypatch):
    """Begin the story of a saga with such a group, between the steps of a gift."""
    timer("inventory.rest", after=timedelta(hours=1))
    saga = Saga(
        "waiting_branches",
        Step("trips.book", undo="trips.unbook"),
        Parallel(Child("trips.tour"), Timer("inventory.rest")),
        Step("trips.confirm", pivot=True),
        abort="trips.drop",
        started_by=Began,
    )
    return story(saga, lambda: start(saga, Cruise(), Began(name="Ada")))


@pytest.mark.parametrize("seed", range(3))
def test_a_group_goes_on_when_its_time_has_come_and_its_child_has_ended(told, seed):
    told.in_any_order(seed).with_duplicates().run()
    told.expect(ended=None, waiting=["inventory.rest", "trips.tour"])
    told.expires("inventory.rest").run().expect(ended=None, waiting=["trips.tour"])
    told.child("trips.tour").run().expect(ended="done")
    told.run().expect(ended="done")
    assert told.record.done[-1] == "trips.confirm"


def test_a_cancel_closes_the_timer_and_cancels_the_child(told):
    told.run().cancel(CalledOff()).run()
    told.child("trips.tour").run().expect(ended="cancelled")
    told.run().expect(ended="cancelled", waiting=[])
    assert "saga.timer_elapsed" not in told.events


def test_a_child_that_fails_closes_the_timer_beside_it(told):
    told.run()
    told.child("trips.tour").when("trips.pay").refuses().run()
    told.run().expect(ended="cancelled", refused=["trips.tour"], waiting=[])
    assert Trip.objects.count() == 1
