"""A parent and its child survive the kill of a worker, at each point at which they meet."""

import pytest

import sagas
from sagas.delivery import relay
from sagas.testing import crashes
from sagas.testing.record import End
from tests.integration.sagas.children import to_tour, tour_of
from tests.processes import until
from tests.trips.harness import TRIPS, effects, events, forget
from tests.trips.holidays import HOLIDAY
from tests.trips.models import Cruise, Trip
from tests.trips.saga import TRIP
from tests.trips.steps import Began

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(300),
]


@pytest.fixture(autouse=True)
def _ordinary_steps():
    forget()


@pytest.mark.parametrize(
    "crash", [each for each in crashes(HOLIDAY) if "trips.tour" in each.fault.step], ids=str
)
def test_a_holiday_with_a_tour_survives(crash, saga_workers):
    holiday = saga_workers.survive(crash, lambda: sagas.start(HOLIDAY, Cruise(), Began(name="Ada")))

    tour = Trip.objects.get(parent_saga=holiday)
    assert tour.ended_at
    assert effects(tour.id) == ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]
    assert len(effects(holiday)) == len(set(effects(holiday)))


@pytest.mark.parametrize(
    "crash",
    [each for each in crashes(TRIP) if each.fault.step in {"trips.travel", "trips.drop"}],
    ids=str,
)
def test_the_end_of_a_tour_that_meets_a_kill_comes_to_its_holiday(crash, saga_workers):
    tour = saga_workers.survive(crash, lambda: tour_of(to_tour()))

    holiday = Trip.objects.get(id=tour).parent_saga
    assert holiday

    def has_ended():
        relay.flush(TRIPS)
        return Cruise.objects.get(id=holiday).ended_at

    until(has_ended, "the holiday has ended")
    told = events(holiday)
    is_done = crash.end is End.DONE
    assert (told.count("holiday.toured"), told.count("holiday.not_toured")) == (
        (1, 0) if is_done else (0, 1)
    )
    assert told[-1] == ("holiday.settled" if is_done else "trip.dropped")
