"""The wakeup sends committed rows soon. After a fault, the next flush sends them."""

import threading

import pytest
from django.db import connection, transaction

from sagas import lifecycle
from sagas.delivery import admission, wakeup
from sagas.delivery.task_signatures import task_signature
from sagas.delivery.wakeup import FEW_ROWS, LONGEST_DELAY, batching_delay, request_flush
from sagas.execution import in_flight, runner
from sagas.operations import holds
from tests.broker import empty, take
from tests.processes import LIMIT, until
from tests.trips.harness import PLAN, TRIPS, begin, messages_to
from tests.trips.models import Outbox

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def flush_threads():
    """Leave the flush threads on."""


@pytest.fixture(autouse=True)
def wakeups(monkeypatch, quiet):
    """Turn on the flush thread, which is off in the other tests of the engine."""
    monkeypatch.setattr(lifecycle, "request_flush", request_flush)


def published():
    return not Outbox.objects.filter(published_at=None).exists()


def test_committed_rows_are_sent_without_an_explicit_flush():
    begin(3)
    until(published, "the flush thread has sent the rows")
    assert [sent.args[0] for sent in take("trips") if sent.task == "sagas.run_step"] == [
        "trips.book"
    ]


def test_new_sagas_are_sent_in_one_message_while_the_workers_are_behind(monkeypatch):
    monkeypatch.setattr("sagas.delivery.wakeup.LONGEST_BACKLOG_WAIT", LIMIT)
    begin(3)
    until(published, "the flush thread has sent the rows")
    for _ in range(3):
        task_signature("flush", "trips", queue="trips").apply_async()
    begin()
    begin()
    empty()  # the workers have caught up
    until(published, "the flush thread has sent the rows again")
    assert [len(sent.args[2]) for sent in take("trips") if sent.task == "sagas.run_step"] == [2]


@pytest.fixture
def kept_back(monkeypatch):
    """Return a function that runs a step while its queue is too long for a small batch, as in a
    worker.
    """
    monkeypatch.setattr(in_flight, "takes_calls", lambda: True)
    monkeypatch.setattr(admission, "CROWDED", 1)
    monkeypatch.setattr(admission, "KEPT", 0.0)

    def run():
        (trip,) = begin()
        until(published, "the flush thread has sent the row")
        assert runner.run("trips.book", PLAN, messages_to("trips.book", [trip]))

    return run


def test_rows_that_a_step_has_kept_back_are_sent_without_beat(kept_back):
    kept_back()
    until(published, "the flush thread has sent the row that was kept back")
    sent = [sent.args[0] for sent in take("trips") if sent.task == "sagas.run_step"]
    assert sent == ["trips.book", "trips.pay"]


def test_rows_that_a_step_has_kept_back_gather_until_the_next_flush(kept_back, monkeypatch):
    monkeypatch.setattr("sagas.delivery.wakeup.GATHERING_TIME", 10 * LIMIT)
    kept_back()
    assert not published()
    request_flush("trips")
    until(published, "the flush thread has sent the row that was kept back")


def test_rows_that_tell_of_a_hold_are_sent_without_a_flush_behind_the_step(monkeypatch):
    trips = begin(2)
    until(published, "the flush thread has sent the rows")
    empty()
    monkeypatch.setattr(in_flight, "takes_calls", lambda: True)
    holds.hold(TRIPS, step="trips.book", by="olga", why="The bank is down.")
    for trip in trips:
        assert runner.run("trips.book", PLAN, messages_to("trips.book", [trip]))
    until(published, "the flush thread has sent the rows of the hold")
    assert Outbox.objects.filter(type="saga.on_hold").count() == 2
    assert take("trips") == []


def test_a_thread_that_has_died_is_replaced(monkeypatch):
    begin()
    until(published, "the flush thread has sent the rows")
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    monkeypatch.setattr(wakeup._flush_threads["trips"], "thread", ended)
    begin()
    until(published, "another thread has sent the rows")


def test_a_host_without_further_threads_leaves_the_rows_to_beat(monkeypatch, caplog):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(wakeup, "_flush_threads", {})
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        begin()
    assert not published()
    assert "beat's next flush sends" in caplog.text
    begin()
    until(published, "the flush thread has sent the rows")


def test_nothing_is_sent_before_the_commit():
    with transaction.atomic():
        begin()
        request_flush("trips")
        assert take("trips") == []
    until(published, "the flush thread has sent the rows")


def test_the_thread_reconnects_after_a_restart_of_the_database():
    begin()
    until(published, "the flush thread has sent the rows")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND usename = current_user"
        )
    begin()
    until(published, "the flush thread has sent the rows again")


def test_the_thread_reconnects_after_a_restart_of_the_broker(dead_broker):
    with dead_broker():
        begin()
        until(Outbox.objects.exclude(last_error="").exists, "the flush thread has failed")
    begin()
    until(published, "the flush thread has sent both rows")


def test_the_delay_after_a_flush_grows_with_its_rows_and_its_time_up_to_a_limit():
    assert batching_delay(sent=0, took=0) == 0
    assert batching_delay(sent=3, took=0.001) == pytest.approx(0.03)
    assert batching_delay(sent=3, took=0.020) == pytest.approx(0.08)
    assert batching_delay(sent=3, took=60) == batching_delay(sent=100, took=0) == LONGEST_DELAY


@pytest.mark.parametrize("sent", [1, FEW_ROWS])
def test_a_slow_flush_of_single_orders_does_not_delay_the_next_flush(sent):
    assert batching_delay(sent=sent, took=60) == pytest.approx(0.01 * sent)
