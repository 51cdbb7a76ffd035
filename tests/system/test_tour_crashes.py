"""Results survive the kill of a worker, between the commit of a step and the next message."""

import pytest
from django.test import override_settings

import sagas
from sagas.failpoints import Point
from sagas.testing import crashes
from sagas.testing.record import End
from tests.tours.harness import facts, tour
from tests.tours.steps import TourBegan
from tests.trips.models import Trip

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(300),
]

__all__ = ["tour"]

BEGAN = TourBegan(price=5, insured=True)


@pytest.fixture(scope="module", autouse=True)
def _workers_know_the_tour():
    with override_settings(SETTINGS_MODULE="tests.tours.worker_settings"):
        yield


@pytest.mark.parametrize(
    ("step", "point"),
    [
        ("inventory.assign", Point.COMMITTED),
        ("inventory.insure", Point.NOT_RECORDED),
        ("inventory.insure", Point.COMMITTED),
        ("trips.announce", Point.TAKEN),
    ],
)
def test_a_tour_reads_its_results_after_a_crash(tour, saga_workers, step, point):
    (crash,) = (
        each
        for each in crashes(tour, event=BEGAN)
        if (each.fault.step, each.fault.point, each.end) == (step, point, End.DONE)
    )

    began = saga_workers.survive(crash, lambda: sagas.start(tour, Trip(), BEGAN))

    assert facts(began, "announced") == {"guide": "guide-10", "policy": "policy-10"}
    assert facts(began, "departed") == {"price": 10}
