"""A worker that stops records the answers of its calls in flight, in each kind of pool."""

import pytest

from tests.broker import empty
from tests.processes import beat, until, worker
from tests.trips.harness import begin
from tests.trips.models import Inbox, Trip

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

QUICK = {"OUTBOX_FLUSH_SECONDS": "0.2", "SAGA_CALLS_AT_ONCE": "64"}


def payments(**fields):
    return Inbox.objects.filter(step="trips.pay", **fields)


def asked(folder):
    return len(list(folder.glob("asked-*")))


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads"])
def test_a_worker_that_stops_with_fifty_calls_in_flight_loses_no_answer(tmp_path, pool):
    empty()
    begin(names=[f"fly to {tmp_path}"] * 50)
    with worker("trips", environ=QUICK, more=["--pool", pool]) as process:
        until(lambda: payments(state="started").count() == 50, "all are claimed", process=process)
        until(lambda: asked(tmp_path) == 16, "all slots are taken", process=process)
        process.popen.terminate()
        until(lambda: "Warm shutdown" in process.output(), "the worker stops", process=process)
        (tmp_path / "answer").touch()
        assert process.popen.wait(60) == 0, process.output()[-4000:]
        output = process.output()

    assert payments(state="done", attempts=1).count() == 50, output[-4000:]
    assert asked(tmp_path) == 50
    with worker("trips", environ=QUICK) as process, beat(environ=QUICK):
        until(
            lambda: not Trip.objects.filter(ended_at=None).exists(),
            "all trips have ended",
            process=process,
        )
    assert payments(state="done", attempts=1).count() == 50


def test_a_child_that_has_run_its_most_tasks_ends_once_its_answers_are_recorded(tmp_path):
    empty()
    begin(names=[f"fly to {tmp_path}"] * 20)
    more = ["--max-tasks-per-child", "2"]  # the child has booked and asked for the payments
    with worker("trips", environ=QUICK, more=more) as process:
        until(lambda: asked(tmp_path) >= 16, "the calls are made", process=process)
        (tmp_path / "answer").touch()
        until(
            lambda: not Trip.objects.filter(ended_at=None).exists(),
            "all trips have ended",
            process=process,
        )
    assert payments(state="done", attempts=1).count() == 20
