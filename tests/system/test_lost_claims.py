"""The steps that a killed process had claimed go on at once.

No lease is over and nothing is re-driven, so only the lost database session tells of the loss.
"""

import pytest

from sagas.failpoints import Action, Fault, Point
from sagas.ids import uuid7
from sagas.testing.armed_faults import ArmedFaults
from tests.broker import empty
from tests.processes import beat, until, worker
from tests.trips.harness import begin, effects, row
from tests.trips.models import Trip

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
]

OUT_OF_REACH = {
    "OUTBOX_FLUSH_SECONDS": "0.2",
    "SAGA_LEASE_SECONDS": "3600",
    "SAGA_STALL_SECONDS": "3600",
    "TASK_TIME_LIMIT": "300",
}
ALL_STEPS = ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]


@pytest.fixture
def faults(tmp_path):
    empty()
    return ArmedFaults(tmp_path)


@pytest.fixture
def environ(tmp_path):
    return {**OUT_OF_REACH, "FAILPOINTS": str(tmp_path)}


@pytest.mark.parametrize("point", [Point.NOT_CALLED, Point.NOT_RECORDED])
def test_trips_go_on_after_the_child_that_had_claimed_them_is_killed(faults, environ, point):
    kill, since = Fault(point, "trips.pay", Action.KILL), uuid7()
    with faults.arm([kill], since=since), worker("trips", environ=environ) as process:
        trips = begin(3)
        with beat(environ=environ):
            until(lambda: all_ended(trips), "all trips have ended", process=process)
    assert faults.hits(kill)
    assert [effects(trip) for trip in trips] == [ALL_STEPS] * 3
    assert any(row(trip, "trips.pay").losses for trip in trips)


def test_trips_go_on_at_another_worker_after_the_worker_that_had_claimed_them_is_killed(
    faults, environ
):
    freeze, since = Fault(Point.NOT_CALLED, "trips.pay", Action.FREEZE), uuid7()
    with faults.arm([freeze], since=since), beat(environ=environ):
        trips = begin(3)
        with worker("trips", environ=environ) as frozen:
            until(lambda: faults.hits(freeze), "a child is frozen", process=frozen)
            with worker("trips", environ=environ) as process:
                frozen.kill()
                until(lambda: all_ended(trips), "all trips have ended", process=process)
    assert [effects(trip) for trip in trips] == [ALL_STEPS] * 3


def all_ended(trips):
    return Trip.objects.filter(id__in=trips, ended_at=None).count() == 0
