"""Results and conditional steps with real workers: over the broker, in two services."""

import pytest

import sagas
from sagas.delivery import relay
from sagas.storage.registry import get_service
from tests.processes import until, worker
from tests.tours.harness import begin, deliver, facts, rows, tour
from tests.tours.steps import CalledOff
from tests.trips.models import Trip

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["tour"]

KNOWS_TOURS = {"DJANGO_SETTINGS_MODULE": "tests.tours.worker_settings"}


def test_results_reach_the_steps_and_undos_of_the_workers(tour):
    insured = begin(tour, 1, 2, 3, insured=True)
    plain = begin(tour, 4, 5)
    (cancelled,) = begin(tour, 6)
    for step in ("trips.quote", "inventory.assign"):
        assert deliver(step, [cancelled]) == []
    sagas.cancel(Trip.objects.get(id=cancelled), CalledOff())

    for name in ("trips", "inventory"):
        relay.flush(get_service(name))
    with worker("trips", "inventory", environ=KNOWS_TOURS) as process:
        until(
            lambda: not Trip.objects.filter(ended_at=None).exists(),
            "all tours have ended",
            process=process,
        )

    announced = [facts(each, "announced") for each in (*insured, *plain)]
    assert announced == [
        {"guide": "guide-2", "policy": "policy-2"},
        {"guide": "guide-4", "policy": "policy-4"},
        {"guide": "guide-6", "policy": "policy-6"},
        {"guide": "guide-8", "policy": None},
        {"guide": "guide-10", "policy": None},
    ]
    assert facts(cancelled, "undone inventory.assign")["own"] == "guide-12"
    assert facts(cancelled, "undone trips.quote")["price"] == 12
    assert not [row for each in plain for row in rows(each) if row.step == "inventory.insure"]
