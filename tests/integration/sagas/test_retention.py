"""Retention: a service deletes old sagas by its own rows and clock, not by the date in a message.

Open sagas stay, sagas of other homes stay, and deleted ones never run again.
"""

from datetime import timedelta

import msgspec
import pytest
from django.db import connection
from django.utils import timezone

from sagas import sql
from sagas.celery.tasks import purge as purge_task
from sagas.definition.messages import Message
from sagas.definition.plan import Plan, Step
from sagas.ids import uuid7
from sagas.operations import retention
from sagas.operations.retention import NOTICE, OpenSagas
from sagas.storage import inbox
from sagas.storage.registry import UnknownService, home_names
from tests.broker import take
from tests.trips.harness import (
    HOME,
    PLAN,
    TRIPS,
    age,
    begin,
    deliver,
    effects,
    hear_lists,
    messages_to,
    row,
    state,
    walk,
)
from tests.trips.models import Inbox, Outbox, Trip, Watermark

pytestmark = pytest.mark.django_db(transaction=True)

DAYS = 30

# The plan of another home, whose sagas pass through trips too.
VISIT = Plan(saga="visit", steps=(Step("trips.book", undo="trips.unbook"),), abort="orders.drop")


@pytest.fixture(autouse=True)
def retention_days(settings):
    settings.SAGA_RETENTION_DAYS = DAYS


def purge(kept=(), *, home="trips", days_ago=DAYS):
    """Deliver a home's list whose date is some days ago, and return the number of deleted rows."""
    before = timezone.now() - timedelta(days=days_ago)
    return retention.purge(TRIPS, OpenSagas(home, before, list(kept)))


def others():
    """Return the other homes. A parked message goes once the lists of every home are heard."""
    return [home for home in home_names() if home != "trips"]


def sagas_left():
    return set(Outbox.objects.values_list("saga", flat=True))


def ended_trips(number, *, days=DAYS + 2):
    """Return trips that were started and ended some days ago."""
    trips = begin(number)
    walk(trips)
    Trip.objects.update(ended_at=timezone.now())
    age(trips, days=days)
    return trips


def test_ended_sagas_are_purged_and_open_ones_keep_every_row(monkeypatch):
    monkeypatch.setattr(retention, "DELETED_AT_ONCE", 1)
    *ended, still_open = ended_trips(4)
    hear_lists([still_open])
    assert purge([still_open]) == 3 * (5 + 4)
    assert sagas_left() == {still_open}
    assert set(Inbox.objects.values_list("saga", flat=True)) == {still_open}
    assert ended


def test_a_message_of_a_purged_saga_is_parked_and_never_run():
    (trip,) = begin()
    late = messages_to("trips.book", [trip])
    walk([trip])
    Trip.objects.update(ended_at=timezone.now())
    age([trip], days=DAYS + 2)
    late = [msgspec.structs.replace(late[0], started_at=Trip.objects.get().created_at)]
    hear_lists()
    purge()
    claimed = inbox.claim(TRIPS, "trips.book", PLAN, late, final=True)
    assert (claimed.attempts, claimed.held) == ({}, set())
    assert effects(trip).count("trips.book") == 1
    parked = row(trip, "trips.book")
    assert (parked.state, parked.send_at) == ("waiting", None)
    assert "older than this service's watermark" in parked.error


def test_a_parked_message_is_shown_for_the_retention_time_and_then_deleted():
    (trip,) = ended_trips(1)
    hear_lists()
    for home in others():
        hear_lists(home=home)
    purge()
    started = timezone.now() - timedelta(days=DAYS + 2)
    late = Message(id=uuid7(), saga=trip, started_at=started, seq=0, context={})
    inbox.claim(TRIPS, "trips.book", PLAN, [late], final=True)
    for home in others():
        purge(home=home)
    purge()
    assert Inbox.objects.count() == 1
    age([trip], days=DAYS + 2)
    purge()
    assert Inbox.objects.count() == 0


def test_parked_messages_are_deleted_in_small_transactions(monkeypatch):
    monkeypatch.setattr(sql, "DELETED_AT_ONCE", 2)
    trips = ended_trips(3)
    hear_lists()
    for home in others():
        hear_lists(home=home)
    purge()
    started = timezone.now() - timedelta(days=DAYS + 2)
    late = [Message(id=uuid7(), saga=trip, started_at=started, seq=0, context={}) for trip in trips]
    inbox.claim(TRIPS, "trips.book", PLAN, late, final=True)
    for home in others():
        purge(home=home)
    age(trips, days=DAYS + 2)
    sizes = []

    def collect(execute, statement, params, many, context):
        result = execute(statement, params, many, context)
        if statement.startswith("DELETE FROM trips_inbox i"):
            sizes.append(context["cursor"].rowcount)
        return result

    with connection.execute_wrapper(collect):
        purge()
    assert sizes == [2, 1]
    assert Inbox.objects.count() == 0


def test_a_message_of_an_open_saga_runs_however_old_it_is():
    (trip,) = begin()
    age([trip], days=DAYS + 2)
    hear_lists([trip])
    purge([trip])
    deliver("trips.book", [trip])
    assert effects(trip) == ["trips.book"]


@pytest.mark.parametrize("days_ago", [-3650, 0, DAYS - 2])
def test_a_far_date_moves_no_watermark_and_blocks_no_later_list(days_ago):
    (young,) = ended_trips(1, days=DAYS - 5)
    (old,) = ended_trips(1)
    hear_lists()
    purge(days_ago=days_ago)
    assert Watermark.objects.get(home="trips").before < timezone.now() - timedelta(days=DAYS)
    claimed = inbox.claim(
        TRIPS, "trips.travel", PLAN, messages_to("trips.book", [young]), final=True
    )
    assert claimed.attempts == {}
    assert Inbox.objects.filter(saga=young, state="waiting").count() == 0  # not parked
    purge()
    assert sagas_left() == {young}
    assert old not in sagas_left()


def test_the_clock_of_the_service_limits_a_date_that_is_slightly_late():
    (trip,) = ended_trips(1, days=DAYS - 0.5)
    hear_lists()
    assert purge(days_ago=DAYS - 0.9) == 0
    assert sagas_left() == {trip}


def test_an_empty_list_does_not_purge_a_saga_that_was_listed_within_a_day():
    (waiting,) = ended_trips(1)
    hear_lists([waiting])
    assert purge([]) == 0
    assert purge([], days_ago=DAYS - 0.01) == 0
    assert sagas_left() == {waiting}
    hear_lists()
    assert purge([]) > 0


def test_the_first_lists_of_a_home_purge_nothing_for_a_day():
    (trip,) = ended_trips(1)
    assert purge() == purge(days_ago=DAYS - 0.01) == 0
    assert sagas_left() == {trip}
    message = messages_to("trips.confirm", [trip])
    inbox.claim(TRIPS, "trips.unbook", PLAN, message, final=True)
    assert row(trip, "trips.unbook").state == "done"  # not parked


def test_the_first_lists_after_a_gap_purge_nothing_for_a_day():
    (trip,) = ended_trips(1)
    hear_lists()
    Watermark.objects.update(heard_at=timezone.now() - NOTICE * 2)
    assert purge() == 0
    assert sagas_left() == {trip}


def test_the_first_list_after_a_gap_that_leaves_an_open_saga_out_does_not_park_its_messages():
    """A forged list may be the first one after its home was down."""
    (trip,) = begin()
    age([trip], days=DAYS + 2)
    hear_lists([trip])
    purge([trip])
    long_ago = timezone.now() - NOTICE * 2
    Watermark.objects.update(heard_at=long_ago, listed={str(trip): long_ago.isoformat()})

    purge([], days_ago=DAYS - 0.5)

    deliver("trips.book", [trip])
    assert state(trip, "trips.book") == "done"


def test_a_list_that_arrives_late_does_not_replace_a_newer_one():
    listed, ended = ended_trips(2)
    hear_lists([listed])
    purge([listed], days_ago=DAYS)
    purge([ended], days_ago=DAYS + 1)
    mark = Watermark.objects.get(home="trips")
    assert mark.kept == [listed]
    assert sagas_left() == {listed}


def test_a_list_that_arrives_twice_does_not_keep_a_saga_for_another_day():
    (trip,) = ended_trips(1)
    before = timezone.now() - timedelta(days=DAYS)
    hear_lists()
    retention.purge(TRIPS, OpenSagas("trips", before, [trip]))
    Watermark.objects.update(
        listed={str(trip): (timezone.now() - 2 * NOTICE).isoformat()},
        heard_since=timezone.now() - 3 * NOTICE,
    )
    retention.purge(TRIPS, OpenSagas("trips", before, [trip]))
    assert purge() > 0


def test_the_watermark_never_moves_back():
    hear_lists()
    purge()
    mark = Watermark.objects.get(home="trips").before
    Watermark.objects.update(listed_before=None)
    purge(days_ago=DAYS + 9)
    assert Watermark.objects.get(home="trips").before == mark


@pytest.mark.parametrize("state", ["started", "waiting", "held"])
def test_a_saga_with_an_open_step_stays_though_no_list_names_it(state):
    (trip,) = ended_trips(1)
    Inbox.objects.filter(step="trips.travel").update(state=state)
    hear_lists()
    assert purge() == 0
    assert sagas_left() == {trip}


def test_a_saga_with_an_unsent_row_stays_though_no_list_names_it():
    (trip,) = ended_trips(1)
    Outbox.objects.filter(type="trip.travelled").update(published_at=None)
    hear_lists()
    assert purge() == 0
    assert sagas_left() == {trip}


def test_a_saga_that_was_redriven_lately_stays_though_no_list_names_it():
    (trip,) = ended_trips(1)
    Outbox.objects.filter(type="trip.booked").update(published_at=timezone.now())
    hear_lists()
    assert purge() == 0
    assert sagas_left() == {trip}


def test_a_home_keeps_its_own_open_sagas_though_a_list_leaves_them_out():
    (trip,) = ended_trips(1)
    Trip.objects.update(ended_at=None)
    hear_lists()
    assert purge() == 0
    assert sagas_left() == {trip}


def test_a_home_purges_no_saga_of_another_home():
    (ours,) = ended_trips(1)
    (theirs,) = begin()
    Outbox.objects.filter(saga=theirs).update(plan=msgspec.to_builtins(VISIT))
    Trip.objects.filter(id=theirs).delete()
    age([theirs], days=DAYS + 2)
    hear_lists(home="trips")
    purge(home="trips")
    assert sagas_left() == {theirs}

    # The watermark of trips does not park the other home's messages either.
    inbox.claim(TRIPS, "trips.book", VISIT, messages_to("trips.book", [theirs]), final=True)
    assert row(theirs, "trips.book").state == "done"
    assert ours not in sagas_left()


def test_a_list_of_the_release_before_is_ignored():
    (trip,) = ended_trips(1)
    assert purge_task("trips", timezone.now().isoformat(), []) == 0
    assert sagas_left() == {trip}
    assert not Watermark.objects.exists()


def test_the_watermark_of_the_release_before_still_parks_messages_of_every_home():
    (trip,) = begin()
    age([trip], days=DAYS + 2)
    with connection.cursor() as cursor:  # as that release wrote it
        cursor.execute(
            "INSERT INTO trips_watermark (id, before, kept)"
            " VALUES (1, now() - interval '1 day', '{}')"
        )
    deliver("trips.book", [trip])
    assert effects(trip) == []
    hear_lists()
    assert sorted(Watermark.objects.values_list("home", flat=True)) == ["", "trips"]


def test_a_list_of_an_unknown_home_is_refused():
    with pytest.raises(UnknownService):
        purge(home="payments")
    assert not Watermark.objects.exists()


def test_every_service_receives_the_open_sagas_a_day_before_the_horizon():
    soon, _, _ = begin(3)
    ended = begin()[0]
    Trip.objects.filter(id=ended).update(ended_at=timezone.now())
    for trip in (soon, ended):
        age([trip], days=DAYS - 0.5)
    retention.broadcast(HOME)
    (sent,) = [sent for sent in take("trips") if sent.task == "sagas.purge"]
    assert (sent.args[0], *sent.args[2:]) == ("trips", [str(soon)], "trips")
