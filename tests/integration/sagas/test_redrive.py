"""Re-drives: a stalled saga is re-driven, at growing intervals, until it ends."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from sagas.delivery import relay
from sagas.delivery.task_signatures import task_signature
from sagas.operations import holds, redrive
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


def test_during_a_backlog_in_the_broker_only_the_longest_stalled_sagas_are_re_driven(monkeypatch):
    monkeypatch.setattr(redrive, "MAX_QUEUE_LENGTH", 0)
    monkeypatch.setattr(redrive, "BATCH_SIZE_IN_BACKLOG", 1)
    trips = begin(3)
    relay.flush(TRIPS)
    stalled()
    Trip.objects.filter(id=trips[1]).update(rescue_at="2019-01-01T00:00:00Z")
    assert redrive.run_once(HOME) == 1
    assert str(trips[1]) in redriven()[0][1]
    empty()
    assert redrive.run_once(HOME) == 2


def test_a_saga_whose_plan_cannot_be_read_delays_no_other_re_drive():
    trips = begin(3)
    Trip.objects.filter(id=trips[1]).update(plan={})
    stalled()
    redrive.run_once(HOME)
    assert set(redriven()[0][1]) == {str(trips[0]), str(trips[2])}


def silent_for(seconds, *trips):
    """Let the last progress of some trips be some seconds ago."""
    left = settings.SAGA_STALL_SECONDS - seconds
    chosen = Trip.objects.filter(id__in=trips) if trips else Trip.objects.all()
    chosen.update(rescue_at=timezone.now() + timedelta(seconds=left))


def test_a_quiet_saga_is_redriven_at_doubling_intervals_and_stays_inconspicuous(settings):
    settings.SAGA_STALL_SECONDS = 100
    begin()
    found = []
    for seconds in range(1, 100):
        silent_for(seconds)
        if redrive.run_once(HOME):
            found.append(seconds)
    assert found == [20, 40, 80]
    trip = Trip.objects.get()
    assert (trip.redrives, trip.needs_attention) == (0, False)


def test_progress_starts_the_early_redrives_again():
    (trip,) = begin()
    silent_for(10)
    assert redrive.run_once(HOME) == 1
    deliver("trips.book", [trip])
    assert Trip.objects.get().early_redrives == 0


def test_no_quiet_saga_is_redriven_while_many_are_quiet(monkeypatch):
    monkeypatch.setattr(redrive, "MOST_QUIET", 2)
    late, *others = begin(3)
    silent_for(10)
    assert redrive.run_once(HOME) == 0
    silent_for(0, late)
    assert redrive.run_once(HOME) == 2
    assert {saga for sent in redriven() for saga in sent[1]} == {str(trip) for trip in others}


def test_no_quiet_saga_is_redriven_while_a_queue_is_long(monkeypatch):
    monkeypatch.setattr(redrive, "LIGHT_QUEUE_LENGTH", 0)
    begin(2)
    relay.flush(TRIPS)
    silent_for(10)
    assert redrive.run_once(HOME) == 0
    empty()
    assert redrive.run_once(HOME) == 2


def test_a_saga_on_hold_or_in_an_agreed_wait_is_not_quiet():
    waiting, held = begin(2)
    silent_for(10, held)
    holds.hold(TRIPS, saga=held, by="anna", why="The address is odd.")
    until = timezone.now() + timedelta(seconds=60 + settings.SAGA_STALL_SECONDS)
    Trip.objects.filter(id=waiting).update(rescue_at=until)
    assert redrive.run_once(HOME) == 0


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
