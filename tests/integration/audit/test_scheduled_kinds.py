"""The scheduled audit checks the sagas of every kind that have ended, page by page."""

from datetime import timedelta

import pytest
from django.utils import timezone

import sagas
from audit import changes, runs
from audit.models import AuditRun, Finding
from audit.scheduled import last_result, run_scheduled
from returns.models import Return
from sagas.ids import uuid7
from sagas.testing import story
from tests.integration.returns import factories
from tests.trips import harness
from tests.trips.models import Cruise, Effect, Inbox, Trip
from tests.trips.saga import CRUISE, TRIP
from tests.trips.steps import Began

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch, settings):
    """Check rows of the last minute as well, and let the next audit be due at once."""
    monkeypatch.setattr(runs, "SETTLING_TIME", -MINUTE)
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    settings.AUDIT_SECONDS = -120.0
    yield
    harness.forget()


def travelled():
    """Return a trip that has ended by its last step."""
    return story(TRIP, lambda: harness.begin()[0]).run().expect(ended="done").saga


def cruised():
    """Return a cruise that has ended by its last step."""
    return story(CRUISE, sagas.start(CRUISE, Cruise(), Began(name="Grace"))).run().saga


def found():
    """Run a whole audit; return invariant, kind and subject of each finding."""
    run_scheduled(60.0)
    assert not AuditRun.objects.filter(finished_at=None).exists(), last_result().error
    return sorted(Finding.objects.values_list("invariant", "kind", "subject"))


def lose_effect(trip):
    """Break the invariant that the domain of trips declares."""
    Effect.objects.filter(trip=trip, step="trips.travel").delete()


def test_sound_sagas_of_every_kind_are_counted_and_give_no_finding():
    travelled(), cruised(), harness.begin()
    assert found() == []
    run = AuditRun.objects.get()
    assert (run.sagas, run.orders) == (2, 0)


def test_findings_of_each_kind_stay_until_its_rows_are_right():
    trip, cruise = travelled(), cruised()
    lose_effect(trip)
    lost = Inbox.objects.get(saga=cruise, step="trips.book")
    lost.delete()
    expected = [("I21", "trips.trip", str(trip)), ("I8", "trips.cruise", str(cruise))]
    assert set(expected) <= set(found())
    assert Finding.objects.get(invariant="I21").detail.startswith("trip: trips.travel is done")
    by_kind = last_result().by_kind
    assert by_kind["trips.trip"] == 1
    assert set(by_kind) == {"trips.trip", "trips.cruise"}

    for model in (Trip, Cruise):
        model.objects.update(ended_at=timezone.now() - 9 * DAY)
    assert set(expected) <= set(found()), "a finding stays, although its saga ended long ago"

    lost.save(force_insert=True)
    Effect.objects.create(trip=trip, step="trips.travel", attempt=1)
    assert found() == []


def test_a_saga_that_ended_before_the_window_is_not_checked():
    trip = travelled()
    lose_effect(trip)
    Trip.objects.update(ended_at=timezone.now() - 2 * DAY)
    assert found() == []
    assert AuditRun.objects.get().sagas == 0


def test_each_saga_is_checked_once_although_a_page_is_small(monkeypatch):
    trips = [travelled() for _ in range(3)]
    cruised(), cruised()
    for trip in trips:
        lose_effect(trip)
    monkeypatch.setattr(changes, "ORDERS_PAGE", 1)
    assert {subject for _, _, subject in found()} == set(map(str, trips))
    assert AuditRun.objects.get().sagas == 5


def test_a_child_without_its_parent_is_found():
    trip = travelled()
    Trip.objects.filter(pk=trip).update(parent_saga=uuid7(), parent_step="trips.tour")
    assert ("I22", "trips.trip", str(trip)) in found()
    Trip.objects.filter(pk=trip).update(parent_saga=None, parent_step="")
    assert found() == []


def test_a_return_that_moved_other_money_than_it_says_is_found():
    order = factories.fulfilled_order()
    saga = factories.ask(order, MUG=1)
    Return.objects.filter(pk=saga).update(
        status="refused", ended_at=timezone.now(), failure_code="late", failure_detail="Too late."
    )
    assert ("I21", "returns.return", str(saga)) in found()


def test_a_kind_that_takes_too_long_is_named_and_leaves_the_cursor(monkeypatch):
    trip = travelled()
    lose_effect(trip)
    slow = "SELECT ended_at, {key} FROM {tracked}, pg_sleep(30) WHERE %(limit)s > 0"
    monkeypatch.setattr(changes, "ENDED_OF_KIND", slow)
    monkeypatch.setattr(changes, "ENDED_TIMEOUT", 20)
    assert run_scheduled(60.0).unfinished is False
    assert "statement timeout" in last_result().error
    assert AuditRun.objects.get(finished_at=None).phase == "sagas"
    monkeypatch.undo()
    monkeypatch.setattr(runs, "SETTLING_TIME", -MINUTE)
    assert ("I21", "trips.trip", str(trip)) in found()
