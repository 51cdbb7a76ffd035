"""Retention: old ended sagas are purged, open ones stay, and purged ones never run again."""

from datetime import timedelta

import pytest
from django.utils import timezone

from sagas.operations import retention
from sagas.storage import inbox
from tests.broker import take
from tests.trips.harness import HOME, PLAN, TRIPS, begin, deliver, effects, messages_to, row, walk
from tests.trips.models import Inbox, Outbox, Trip, Watermark

pytestmark = pytest.mark.django_db(transaction=True)

TOMORROW = timezone.now() + timedelta(days=1)


def test_ended_sagas_are_purged_and_open_ones_keep_every_row(monkeypatch):
    monkeypatch.setattr(retention, "DELETED_AT_ONCE", 3)
    ended, still_open = begin(2)
    walk([ended, still_open])
    deleted = retention.purge(TRIPS, before=TOMORROW, kept=[still_open])
    assert deleted == 5 + 4
    assert set(Outbox.objects.values_list("saga", flat=True)) == {still_open}
    assert set(Inbox.objects.values_list("saga", flat=True)) == {still_open}


def test_a_message_of_a_purged_saga_is_parked_and_never_run():
    (trip,) = begin()
    late = messages_to("trips.book", [trip])
    walk([trip])
    retention.purge(TRIPS, before=TOMORROW, kept=[])
    claimed = inbox.claim(TRIPS, "trips.book", PLAN, late, final=True)
    assert claimed == ({}, set())
    assert effects(trip).count("trips.book") == 1
    parked = row(trip, "trips.book")
    assert (parked.state, parked.send_at) == ("waiting", None)
    assert "older than this service's watermark" in parked.error


def test_a_message_of_an_open_saga_runs_however_old_it_is():
    (trip,) = begin()
    retention.purge(TRIPS, before=TOMORROW, kept=[trip])
    deliver("trips.book", [trip])
    assert effects(trip) == ["trips.book"]


def test_the_watermark_never_moves_back():
    retention.purge(TRIPS, before=TOMORROW, kept=[])
    retention.purge(TRIPS, before=TOMORROW - timedelta(days=9), kept=[])
    assert Watermark.objects.get().before == TOMORROW


def test_every_service_receives_the_horizon_and_the_old_open_sagas(settings):
    settings.SAGA_RETENTION_DAYS = 30
    old, _ = begin(2)
    Trip.objects.filter(id=old).update(created_at=timezone.now() - timedelta(days=31))
    retention.broadcast(HOME)
    (sent,) = [sent for sent in take("trips") if sent.task == "sagas.purge"]
    assert (sent.args[0], sent.args[2]) == ("trips", [str(old)])
