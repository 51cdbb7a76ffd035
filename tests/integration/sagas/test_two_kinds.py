"""Two kinds of saga in one home, each tracked by a model of its own."""

from datetime import timedelta
from typing import Any

import pytest
from django.test.utils import isolate_apps
from django.utils import timezone

import sagas
from sagas import lifecycle
from sagas.checks.services import findings
from sagas.ids import uuid7
from sagas.models import TrackedSaga
from sagas.operations import redrive, retention, table_stats
from sagas.storage import registry
from sagas.storage.registry import get_home, home_names
from sagas.testing import story
from tests.trips import harness
from tests.trips.harness import begin
from tests.trips.models import Cruise, Outbox, Trip
from tests.trips.saga import CRUISE, TRIP
from tests.trips.steps import Began, CalledOff

pytestmark = pytest.mark.django_db(databases="__all__")

HOME = get_home("trips")


@pytest.fixture(autouse=True)
def no_messages(monkeypatch):
    """Return the arguments of the tasks that would be sent."""
    sent: list[tuple[object, ...]] = []

    class Signature:
        def __init__(self, *args, **options):
            self.args = args

        def apply_async(self):
            sent.append(self.args)

    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    monkeypatch.setattr("sagas.operations.redrive.queues.home_backlog", lambda home: 1_000)
    for module in (redrive, retention):
        monkeypatch.setattr(module, "task_signature", Signature)
    yield sent
    harness.forget()


def cruise():
    row = Cruise()
    sagas.start(CRUISE, row, Began(name="Grace"))
    return row.id


def test_each_kind_runs_to_its_end_and_reads_its_own_events():
    trip = story(TRIP, lambda: begin()[0]).run().expect(ended="done")
    other = story(CRUISE, cruise).run().expect(ended="done")
    assert harness.effects(other.saga) == ["trips.book", "trips.confirm"]
    assert Trip.objects.get(id=trip.saga).followed == 4
    row = Cruise.objects.get(id=other.saga)
    assert (row.followed, row.ended_at is not None) == (2, True)


def test_a_saga_of_the_second_kind_is_cancelled_and_undone():
    other = story(CRUISE, cruise).run(until="trips.book")
    row = Cruise.objects.get(id=other.saga)
    assert sagas.cancel(row, CalledOff()) is sagas.CancelResult.OURS
    other.run().expect(ended="cancelled", undone=["trips.book"])


def test_a_start_without_the_kind_is_refused_before_anything_is_written():
    with pytest.raises(TypeError, match=r"several tables: trips_trip, trips_cruise\. Start"):
        lifecycle.start(TRIP, saga=uuid7(), started_at=timezone.now(), event=Began(name="Ada"))
    assert not Outbox.objects.exists()


def test_a_home_is_named_once_and_two_kinds_are_no_fault():
    assert home_names() == ["orders", "returns", "trips"]
    assert HOME.kinds == (Trip, Cruise)
    assert [found for found in findings() if found.id == "sagas.E017"] == []


def test_a_proxy_for_the_admin_is_no_further_kind(monkeypatch):
    with isolate_apps("tests.trips"):

        class OpenTrip(Trip):
            class Meta:
                proxy = True
                app_label = "trips"

        class Excursion(Trip):
            class Meta:
                app_label = "trips"

        derived = [OpenTrip, Excursion]
    models = [Trip, Cruise, *derived]
    monkeypatch.setattr("sagas.storage.registry.apps.get_models", lambda: models)
    base: Any = TrackedSaga
    assert registry._models("trips", base) == (Trip, Cruise)


def make_stalled(*rows):
    for kind in (Trip, Cruise):
        kind.objects.filter(id__in=rows).update(rescue_at=timezone.now() - timedelta(seconds=1))


def test_stalled_sagas_of_every_kind_are_re_driven(no_messages):
    [trip], other = begin(), cruise()
    make_stalled(trip, other)
    assert redrive.run_once(HOME) == 2
    [(_, _, ids)] = no_messages
    assert set(ids) == {str(trip), str(other)}
    assert Cruise.objects.get(id=other).redrives == 1


def test_open_sagas_of_every_kind_are_counted():
    begin(2)
    make_stalled(cruise())
    stats = table_stats.saga_stats(HOME)
    assert (stats.open, stats.stalled) == (3, 1)


def test_the_list_of_open_sagas_names_every_kind(no_messages):
    [trip], other = begin(), cruise()
    long_ago = timezone.now() - timedelta(days=90)
    for kind in (Trip, Cruise):
        kind.objects.update(created_at=long_ago)
    retention.broadcast(HOME)
    for _, service, before, kept, home in no_messages:
        assert (set(kept), home) == ({str(trip), str(other)}, "trips"), service
        assert before < timezone.now().isoformat()


def test_an_open_saga_of_the_second_kind_is_not_purged():
    other = cruise()
    harness.age([other], days=90)
    Cruise.objects.filter(id=other).update(created_at=timezone.now() - timedelta(days=90))
    harness.hear_lists()
    assert retention.purge(harness.TRIPS, open_sagas_now()) == 0
    assert Outbox.objects.filter(saga=other).exists()
    Cruise.objects.filter(id=other).update(ended_at=timezone.now())
    assert retention.purge(harness.TRIPS, open_sagas_now()) > 0
    assert not Outbox.objects.filter(saga=other).exists()


def open_sagas_now():
    before = timezone.now() - timedelta(days=31)
    return retention.OpenSagas("trips", before, [])
