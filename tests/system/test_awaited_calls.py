"""Real workers await the calls of an `AsyncExternalStep` in one thread of each process."""

import pytest

from tests.broker import empty
from tests.processes import beat, until, worker
from tests.trips.harness import begin
from tests.trips.models import Inbox, Trip

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

TRIPS = 50
QUICK = {
    "OUTBOX_FLUSH_SECONDS": "0.2",
    "SAGA_CALLS_AT_ONCE": "64",
    "DJANGO_SETTINGS_MODULE": "tests.trips.awaited_settings",
}


def payments(**fields):
    return Inbox.objects.filter(step="trips.pay", **fields)


def asked(folder):
    return list(folder.glob("asked-*"))


def all_ended():
    return not Trip.objects.filter(ended_at=None).exists()


def test_a_worker_that_stops_records_all_awaited_answers_and_every_trip_ends(tmp_path):
    empty()
    begin(names=[f"fly to {tmp_path}"] * TRIPS)
    with worker("trips", environ=QUICK) as process:
        until(lambda: len(asked(tmp_path)) == 16, "all slots are taken", process=process)
        process.popen.terminate()
        until(lambda: "Warm shutdown" in process.output(), "the worker stops", process=process)
        (tmp_path / "answer").touch()
        assert process.popen.wait(60) == 0, process.output()[-4000:]

    answered = payments(state="done").count()
    assert answered >= 16
    with worker("trips", environ=QUICK) as process, beat(environ=QUICK):
        until(all_ended, "all trips have ended", process=process)
    assert payments(state="done", attempts=1).count() == TRIPS
    assert len(asked(tmp_path)) == TRIPS
    assert {each.read_text() for each in asked(tmp_path)} == {"call-loop"}


@pytest.mark.faults
def test_the_trips_of_a_killed_worker_whose_calls_were_awaited_end_at_another(tmp_path):
    empty()
    begin(names=[f"fly to {tmp_path}"] * TRIPS)
    with worker("trips", environ=QUICK) as process, beat(environ=QUICK):
        until(lambda: len(asked(tmp_path)) == 16, "all slots are taken", process=process)
        process.kill()
        (tmp_path / "answer").touch()
        with worker("trips", environ=QUICK) as other:
            until(all_ended, "all trips have ended", process=other)
    assert payments(state="done").count() == TRIPS
