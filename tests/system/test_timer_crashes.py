"""A timer survives the kill of a worker, at each point of its step and of its undo."""

import pytest

from sagas.testing import crashes
from tests.trips.harness import begin, effects, forget
from tests.trips.saga import NAP_TRIP

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
    "crash", [each for each in crashes(NAP_TRIP) if "trips.nap" in each.fault.step], ids=str
)
def test_a_nap_survives(crash, saga_workers):
    trip = saga_workers.survive(crash, lambda: begin(declaration=NAP_TRIP)[0])

    assert len(effects(trip)) == len(set(effects(trip)))
