"""Re-drives: a stalled saga is re-driven, at growing intervals, until it ends."""

from datetime import timedelta

import pytest
from django.utils import timezone

from sagas.delivery import relay
from sagas.delivery.task_signatures import task_signature
from sagas.operations import redrive
from tests.broker import empty, take
from tests.trips.harness import HOME, TRIPS, begin, deliver, walk
from tests.trips.models import Outbox, Trip

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = "2020-01-01T00:00:00Z"


def stalled():
    return Trip.objects.filter(ended_at=None).update(rescue_at=LONG_AGO)


def redriven():
    return [sent.args for sent in take("trips") if sent.task == "sagas.redrive"]


def test_a_stalled_saga_is_redriven_in_every_service_of_its_plan():
    (trip,) = begin()
    stalled()
    assert redrive.run_once(HOME) == 1
    assert redriven() == [["trips", [str(trip)]]]


def test_a_saga_with_progress_or_an_end_is_not_redriven():
    ended, _ = begin(2)
    Trip.objects.update(rescue_at=timezone.now() + timedelta(minutes=1))
    Trip.objects.filter(id=ended).update(ended_at=timezone.now(), rescue_at=LONG_AGO)
    assert redrive.run_once(HOME) == 0


def test_the_interval_doubles_and_the_saga_needs_attention_at_the_limit(settings):
    settings.SAGA_STALL_SECONDS, settings.SAGA_REDRIVES = 100, 3
    begin()
    gaps, flags = [], []
    for _ in range(4):
        stalled()
        redrive.run_once(HOME)
        row = Trip.objects.get()
        gaps.append(round((row.rescue_at - timezone.now()).total_seconds(), -2))
        flags.append(row.needs_attention)
    assert gaps == [200, 400, 800, 1600]
    assert flags == [False, False, True, True]


def test_a_round_is_bounded_and_takes_the_longest_stalled_first(monkeypatch):
    monkeypatch.setattr(redrive, "BATCH_SIZE", 2)
    trips = begin(3)
    stalled()
    Trip.objects.filter(id=trips[2]).update(rescue_at="2019-01-01T00:00:00Z")
    assert redrive.run_once(HOME) == 2
    assert str(trips[2]) in redriven()[0][1]


def test_a_backlog_in_the_broker_is_not_mistaken_for_a_stall(monkeypatch):
    monkeypatch.setattr(redrive, "MAX_QUEUE_LENGTH", 0)
    begin(2)
    relay.flush(TRIPS)
    stalled()
    assert redrive.run_once(HOME) == 0
    empty()
    assert redrive.run_once(HOME) == 2


def test_the_queue_of_an_unrelated_service_does_not_delay_a_redrive(monkeypatch):
    monkeypatch.setattr(redrive, "MAX_QUEUE_LENGTH", 0)
    begin()
    task_signature("flush", "payments", queue="payments").apply_async()
    stalled()
    assert redrive.run_once(HOME) == 1


def test_a_redrive_publishes_every_row_of_the_saga_again_and_no_effect_repeats():
    trip, other = begin(2)
    deliver("trips.book", [trip, other])
    relay.flush(TRIPS)
    empty()
    assert redrive.republish(TRIPS, [trip]) == 2
    sent = [(s.args[0], s.args[2][0]["saga"]) for s in take("trips") if s.task == "sagas.run_step"]
    assert sorted(sent) == [("trips.book", str(trip)), ("trips.pay", str(trip))]
    walk([trip, other])
    assert Outbox.objects.filter(saga=trip).count() == 5
