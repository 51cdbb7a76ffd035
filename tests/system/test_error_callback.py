"""The error callback on real workers counts errors and lost processes. Other messages continue."""

import pytest
from django_celery_results.models import TaskResult

from sagas.observability.error_pattern import failure_id
from tests.broker import empty
from tests.processes import beat, until, worker
from tests.trips.harness import begin, effects, events, row, state
from tests.trips.models import Effect, Inbox, Trip

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

QUICK = {"SAGA_STEP_ATTEMPTS": "2", "OUTBOX_BATCH_SIZE": "4", "OUTBOX_FLUSH_SECONDS": "0.2"}


@pytest.fixture(autouse=True)
def empty_queue():
    empty()


def all_ended():
    return not Trip.objects.filter(ended_at=None).exists()


def test_a_step_that_raises_is_retried_then_given_up_and_the_saga_is_undone():
    good, bad = begin(names=["Ada", "raise in trips.book"])
    with worker("trips", environ=QUICK) as process, beat(environ=QUICK):
        until(all_ended, "both trips have ended", process=process)
    assert effects(good) == ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]
    assert effects(bad) == ["trips.unbook", "trips.drop"]
    assert (state(bad, "trips.book"), row(bad, "trips.book").attempts) == ("refused", 2)


def test_the_error_callback_runs_as_its_own_task_and_stores_the_error():
    (bad,) = begin(names=["raise in trips.book"])
    with worker("trips", environ={**QUICK, "SAGA_STEP_ATTEMPTS": "9"}) as process:
        until(
            lambda: state(bad, "trips.book") == "waiting",
            "the failed attempt is counted",
            process=process,
        )
        until(
            lambda: "Task sagas.fail_step" in process.output(),
            "the callback is received",
            process=process,
        )
    assert "told to raise" in row(bad, "trips.book").error
    failure = TaskResult.objects.get(task_name="sagas.run_step", status="FAILURE")
    assert "told to raise" in failure.result
    assert failure.task_id == failure_id(
        row(bad, "trips.book").error, task="sagas.run_step", step="trips.book"
    )


@pytest.mark.faults
def test_a_message_that_always_kills_its_worker_is_refused_and_the_others_continue():
    trips = begin(names=["Ada", "Bob", "kill in trips.book", "Cleo"])
    killer = trips[2]
    with worker("trips", environ=QUICK) as process, beat(environ=QUICK):
        until(all_ended, "all four trips have ended", process=process)
    assert state(killer, "trips.book") == "refused"
    assert "its process was lost" in row(killer, "trips.book").error
    for trip in trips:
        if trip != killer:
            assert effects(trip)[-1] == "trips.travel"
    assert Effect.objects.filter(step="trips.book").count() == 3


def test_a_step_after_the_pivot_that_raises_is_never_undone():
    (trip,) = begin(names=["raise in trips.travel"])
    with worker("trips", environ=QUICK) as process, beat(environ=QUICK):
        until(
            lambda: Trip.objects.get().needs_attention, "the trip needs attention", process=process
        )
    assert effects(trip) == ["trips.book", "trips.pay", "trips.confirm"]
    assert Inbox.objects.filter(step="trips.refund").count() == 0
    assert "saga.needs_attention" in events(trip)


@pytest.mark.faults
def test_all_trips_end_after_a_worker_is_killed():
    trips = begin(20)
    with worker("trips", environ=QUICK) as process, beat(environ=QUICK):
        until(Effect.objects.exists, "the first step has run", process=process)
        process.kill()
        with worker("trips", environ={**QUICK, "SAGA_STALL_SECONDS": "2"}) as second:
            until(all_ended, "all trips have ended", process=second)
    for trip in trips:
        assert effects(trip) == ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]
