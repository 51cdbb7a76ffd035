"""Beat sends no round of a task while the one before still waits in its queue."""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from celery import current_app
from celery.beat import Scheduler, SchedulingError
from celery.worker.request import Request
from kombu import Queue

from sagas.celery import rounds
from tests.broker import empty, take

NAME = "flush-orders"
KEY = "sagas.round.flush-orders"

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def clock(monkeypatch):
    """A clock of beat's process that moves when the test says so."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(rounds, "_noted_at", {})
    return clock


@pytest.fixture
def beat(clock):
    """Beat in this process, with an empty broker."""
    current_app.loader.import_default_modules()
    empty()
    return Scheduler(app=current_app, lazy=True)


def send_round(beat, name=NAME):
    entry = {"name": name, **current_app.conf.beat_schedule[name]}
    beat.apply_async(beat.Entry(**entry, app=current_app), producer=beat.producer)


@contextmanager
def keys_of_broker():
    with current_app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        yield channel.client


def run_next():
    """Run the next message of the queue as a worker's child does."""
    with current_app.connection_for_read() as connection:
        message: Any = Queue("orders", channel=connection.default_channel).get()
        task = current_app.tasks[message.headers["task"]]
        Request(message, app=current_app, task=task).execute()
        message.ack()


def test_rounds_do_not_pile_up_in_a_queue_that_no_worker_reads(beat):
    for _ in range(50):
        send_round(beat)
        send_round(beat, "redrive-orders")
    assert sorted(sent.task for sent in take("orders")) == ["sagas.flush", "sagas.rescue"]


def test_the_next_round_is_sent_once_a_worker_has_begun_the_last(beat):
    for _ in range(3):
        send_round(beat)
        send_round(beat)
        run_next()
    send_round(beat)
    assert len(take("orders")) == 1


def test_a_lost_round_delays_the_next_for_a_few_seconds_only(beat, clock):
    send_round(beat)
    take("orders")  # the message is lost, and its note is not
    clock.now += rounds.LONGEST_WAIT - 0.1
    send_round(beat)
    assert take("orders") == []
    clock.now += 0.1
    send_round(beat)
    assert len(take("orders")) == 1


def test_a_note_of_a_stranger_does_not_stop_beat(beat, clock):
    with keys_of_broker() as client:
        client.set(KEY, "forever")
    send_round(beat)
    assert take("orders") == []
    clock.now += rounds.LONGEST_WAIT
    send_round(beat)
    assert len(take("orders")) == 1


def test_a_note_ends_by_itself(beat):
    send_round(beat)
    with keys_of_broker() as client:
        left = client.pttl(KEY)
    assert 0 < left <= rounds.LONGEST_WAIT * 1000


def test_a_round_that_is_retried_is_sent_although_its_note_is_there(beat):
    send_round(beat)
    headers = current_app.conf.beat_schedule[NAME]["options"]["headers"]
    current_app.tasks["sagas.flush"].apply_async(("orders",), queue="orders", headers=headers)
    assert len(take("orders")) == 2


def test_a_task_of_the_project_that_beat_sends_is_sent_each_time(beat):
    entry = {"task": "sagas.flush", "schedule": 1.0, "args": ("orders",)}
    for _ in range(2):
        own = beat.Entry(name="mine", app=current_app, options={"queue": "orders"}, **entry)
        beat.apply_async(own, producer=beat.producer)
    assert len(take("orders")) == 2


def test_without_a_broker_a_round_runs_and_beat_reports_the_fault(beat, broker):
    send_round(beat)
    broker.kill()
    rounds.begin(NAME)
    with pytest.raises(SchedulingError):
        send_round(beat)
