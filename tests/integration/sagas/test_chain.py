"""The flush behind a step runs only if the step left rows to send."""

import msgspec
import pytest

from sagas.celery import tasks
from sagas.delivery import relay
from tests.processes import until, worker
from tests.trips.harness import PLAN, TRIPS, begin, effects, messages_to
from tests.trips.models import Outbox, Trip

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def run_with_chain(step, trips):
    """Run a step's task with a flush and another task behind it; return the chain."""
    chain = ["another", "flush"]
    tasks.run_step.push_request(chain=chain)  # type: ignore[call-arg]
    try:
        tasks.run_step.run(step, *msgspec.to_builtins((PLAN, messages_to(step, trips))))
    finally:
        tasks.run_step.pop_request()
    return chain


def test_a_step_that_sent_its_rows_removes_only_the_flush_from_its_chain():
    assert run_with_chain("trips.book", begin(2)) == ["another"]


def test_a_duplicate_of_a_step_has_nothing_to_flush():
    trips = begin(2)
    run_with_chain("trips.book", trips)
    assert run_with_chain("trips.book", trips) == ["another"]


def test_a_step_that_could_not_send_its_rows_keeps_the_flush_in_its_chain(dead_broker):
    trips = begin(2)
    with dead_broker():
        assert run_with_chain("trips.book", trips) == ["another", "flush"]
    assert Outbox.objects.filter(type="trip.booked", published_at=None).count() == 2


@pytest.mark.system
def test_celery_does_not_send_a_flush_that_was_removed_from_a_chain():
    (trip,) = begin()
    relay.flush(TRIPS)
    with worker("trips", environ={}) as process:
        until(
            lambda: not Trip.objects.filter(ended_at=None).exists(),
            "the trip has ended",
            process=process,
        )
        output = process.output()
    assert effects(trip) == ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]
    assert "Task sagas.run_step" in output
    assert "Task sagas.flush" not in output
