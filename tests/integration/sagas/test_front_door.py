"""The public names of the package: start and cancel by a row, and the tables of an app."""

import pytest
from django.db import models, transaction
from django.test.utils import isolate_apps
from django.utils import timezone

import sagas
from orders.models import Order
from sagas.ids import uuid7
from sagas.lifecycle import CancelResult
from sagas.models import ServiceTables
from sagas.testing import story
from tests.trips import harness
from tests.trips.models import Outbox, TimelineEvent, Trip
from tests.trips.saga import TRIP
from tests.trips.steps import Began, CalledOff

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def no_flush(monkeypatch):
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)


def started() -> Trip:
    trip = Trip()
    sagas.start(TRIP, trip, Began(name="Ada"))
    return trip


def test_every_public_name_is_found():
    assert [name for name in sagas.__all__ if not hasattr(sagas, name)] == []
    assert set(sagas.__all__) <= set(dir(sagas))
    with pytest.raises(AttributeError, match="no attribute 'begin'"):
        sagas.begin  # noqa: B018


def test_a_saga_that_is_started_by_its_row_runs_to_its_end():
    trip = started()
    harness.walk([trip.id])
    assert harness.effects(trip.id) == ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]
    assert TimelineEvent.objects.filter(saga=trip.id, type="trip.began").exists()


def test_the_row_and_the_first_message_are_rolled_back_together():
    with transaction.atomic():
        started()
        transaction.set_rollback(True)
    assert not Trip.objects.exists()
    assert not Outbox.objects.exists()


def test_a_row_that_is_saved_already_is_refused_before_anything_is_written():
    trip = started()
    with pytest.raises(TypeError, match="Pass a row that is not saved"):
        sagas.start(TRIP, trip, Began(name="Ada"))
    assert Outbox.objects.filter(saga=trip.id).count() == 1


def test_a_field_of_another_type_is_refused_before_anything_is_written():
    with pytest.raises(TypeError, match=r"Began cannot start a saga: Expected `str`, got `int`"):
        sagas.start(TRIP, Trip(), Began(name=5))  # type: ignore[arg-type]  # as an unchecked form gives it
    assert not Trip.objects.exists()


def test_a_row_that_tracks_no_saga_of_the_home_is_refused():
    with pytest.raises(TypeError, match=r"tracks no saga of trips\. Pass a row of Trip or Cruise"):
        sagas.start(TRIP, Order(), Began(name="Ada"))


def test_a_start_returns_its_row():
    trip = Trip()
    assert sagas.start(TRIP, trip, Began(name="Ada")) is trip
    assert story(TRIP, trip).run().expect(ended="done").saga == trip.id


def test_a_cancel_without_a_saga_or_a_refusal_says_what_is_missing():
    with pytest.raises(LookupError, match="has no plan: the saga was never started"):
        sagas.cancel(Trip(), CalledOff())
    with pytest.raises(TypeError, match="cancelled with a Refusal, not with Began"):
        sagas.cancel(started(), Began(name="Ada"))  # type: ignore[arg-type]  # a mistake


def test_a_cancel_before_the_pivot_undoes_the_saga_with_the_context_of_its_start():
    trip = started()
    harness.deliver("trips.book", [trip.id])
    assert sagas.cancel(trip, CalledOff()) is CancelResult.OURS
    assert Outbox.objects.get(type="trip.called_off").context["name"] == "Ada"
    harness.walk([trip.id])
    assert harness.effects(trip.id)[-1] == "trips.drop"
    assert sagas.cancel(trip, CalledOff()) is CancelResult.REFUSED


def test_a_cancel_after_the_pivot_changes_nothing():
    trip = started()
    harness.walk([trip.id])
    assert sagas.cancel(trip, CalledOff()) is CancelResult.DONE


def test_a_saga_that_was_never_started_cannot_be_cancelled():
    trip = Trip(id=uuid7(), plan=started().plan, created_at=timezone.now())
    with pytest.raises(LookupError, match="was never started"):
        sagas.cancel(trip, CalledOff())


@isolate_apps("tests.trips")
def test_one_line_gives_an_app_the_tables_of_the_engine():
    class Messaging(ServiceTables, home=True):
        __module__ = "tests.trips.models"

    tables = {
        name: getattr(Messaging, name)._meta
        for name in (
            "outbox",
            "inbox",
            "hold",
            "step_fault",
            "call_limit",
            "watermark",
            "timeline",
        )
    }
    assert {name: meta.db_table for name, meta in tables.items()} == {
        "outbox": "trips_outbox",
        "inbox": "trips_inbox",
        "hold": "trips_hold",
        "step_fault": "trips_stepfault",
        "call_limit": "trips_calllimit",
        "watermark": "trips_watermark",
        "timeline": "trips_timelineevent",
    }
    assert [index.name for index in tables["outbox"].indexes] == [
        "trips_outbox_due",
        "trips_outbox_saga",
        "trips_outbox_age",
    ]
    assert all(issubclass(getattr(Messaging, name), models.Model) for name in tables)


@isolate_apps("tests.trips")
def test_a_service_that_is_no_home_has_no_timeline():
    class Messaging(ServiceTables):
        __module__ = "tests.trips.models"

    assert not hasattr(Messaging, "timeline")
