"""The chain behind a step: its flush runs where the step has left something to send, and only
there.
"""

import msgspec
import pytest

from sagas.celery import tasks
from sagas.delivery import relay
from tests.processes import until, worker
from tests.trips.harness import PLAN, TRIPS, begin, effects, messages_to
from tests.trips.models import Outbox, Trip

pytestmark = pytest.mark.django_db(transaction=True)


def left_behind(step, trips):
    """Run a step's task as Celery does, with a flush and another link behind it; return what is
    left of these.
    """
    chain = ["another", "flush"]
    tasks.run_step.push_request(chain=chain)  # type: ignore[call-arg]
    try:
        tasks.run_step.run(step, *msgspec.to_builtins((PLAN, messages_to(step, trips))))
    finally:
        tasks.run_step.pop_request()
    return chain


def test_a_step_that_has_sent_what_it_wrote_takes_the_flush_behind_it_out_of_its_chain_and_nothing_else():
    assert left_behind("trips.book", begin(2)) == ["another"]


def test_a_step_that_comes_again_has_nothing_to_flush():
    trips = begin(2)
    left_behind("trips.book", trips)
    assert left_behind("trips.book", trips) == ["another"]


def test_a_step_that_could_not_send_what_it_wrote_leaves_the_flush_to_its_chain(dead_broker):
    trips = begin(2)
    with dead_broker():
        assert left_behind("trips.book", trips) == ["another", "flush"]
    assert Outbox.objects.filter(type="trip.booked", published_at=None).count() == 2


@pytest.mark.system
def test_celery_sends_no_flush_for_a_chain_that_was_cut():
    (trip,) = begin()
    relay.flush(TRIPS)
    with worker("trips", environ={}) as process:
        until(
            lambda: not Trip.objects.filter(ended_at=None).exists(),
            "the trip has ended",
            process=process,
        )
        said = process.output()
    assert effects(trip) == ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]
    assert "Task sagas.run_step" in said
    assert "Task sagas.flush" not in said
