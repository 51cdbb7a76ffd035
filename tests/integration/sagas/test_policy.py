"""A step has a policy of its own: its tries, its pauses, and the size of its batches."""

from collections import Counter

import pytest
from django.contrib import admin
from django.db import connection
from django.test import RequestFactory

from sagas.admin.filters import StateFilter
from sagas.definition.events import NEEDS_ATTENTION
from sagas.definition.policy import Backoff
from sagas.delivery import publisher, relay
from tests.broker import empty, take
from tests.trips.harness import (
    TRIPS,
    begin,
    deliver,
    effects,
    events,
    fail,
    make_due,
    row,
    state,
    with_policy,
)
from tests.trips.models import Inbox, Outbox
from tests.trips.steps import behaviour, calls

pytestmark = pytest.mark.django_db(transaction=True)


def boom(_):
    raise RuntimeError("boom")


@pytest.mark.parametrize("tries", [1, 2, 7])
def test_a_step_is_given_up_when_its_own_tries_end(tries):
    (trip,) = begin()
    with with_policy("trips.book", tries=tries):
        for attempt in range(1, tries):
            fail("trips.book", [trip], attempt=attempt)
            assert state(trip, "trips.book") == "waiting"
        fail("trips.book", [trip], attempt=tries)

    assert state(trip, "trips.book") == "refused"


def test_an_undo_calls_for_attention_when_its_own_tries_end():
    (trip,) = begin()
    Outbox.objects.filter(saga=trip).update(target="trips.unbook")
    with with_policy("trips.unbook", tries=2):
        for attempt in (1, 2, 3):
            fail("trips.unbook", [trip], attempt=attempt)
            assert events(trip).count(NEEDS_ATTENTION) == (0 if attempt == 1 else 1)

    assert state(trip, "trips.unbook") == "waiting"


def test_a_step_with_one_try_is_not_given_up_for_a_fault_that_other_sagas_share():
    trips = begin(2)
    with with_policy("trips.book", tries=1):
        fail("trips.book", trips)

    assert [state(trip, "trips.book") for trip in trips] == ["waiting", "waiting"]


def test_a_step_waits_as_its_own_backoff_says():
    (trip,) = begin()
    with with_policy("trips.book", tries=9, backoff=Backoff(first=200.0, longest=300.0)):
        pauses = []
        for attempt in (1, 2, 3):
            fail("trips.book", [trip], attempt=attempt)
            pauses.append(_seconds_until_due(trip))

    assert 95 < pauses[0] <= 200
    assert all(145 < pause <= 300 for pause in pauses[1:])


def _seconds_until_due(trip):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM due_at - clock_timestamp()) FROM trips_inbox"
            " WHERE saga = %s AND step = 'trips.book'",
            [trip],
        )
        return float(cursor.fetchone()[0])


def test_a_message_has_at_most_the_batch_of_its_step():
    begin(5)
    empty()
    with with_policy("trips.book", most_in_batch=2):
        relay.flush(TRIPS)

    assert Counter(_sizes_sent("trips.book")) == Counter([2, 2, 1])


def test_open_steps_are_sent_again_in_the_batch_of_their_step():
    trips = begin(3)
    relay.flush(TRIPS)
    for trip in trips:
        fail("trips.book", [trip])
    make_due()
    empty()
    with with_policy("trips.book", most_in_batch=2):
        relay.flush(TRIPS)

    assert Counter(_sizes_sent("trips.book")) == Counter([2, 1])


def _sizes_sent(step):
    return [len(sent.args[2]) for sent in take("trips") if sent.args[:1] == [step]]


def test_the_batch_of_a_step_is_never_above_the_setting_and_shrinks_after_losses():
    with with_policy("trips.book", most_in_batch=500):
        assert publisher.batch_size("trips.book", 0) == 100
    with with_policy("trips.book", most_in_batch=20):
        assert [publisher.batch_size("trips.book", losses) for losses in (0, 1, 2)] == [20, 5, 1]
    assert publisher.batch_size("a.step_of_another_process", 0) == 100


def test_a_worker_splits_a_batch_that_is_larger_than_its_step_takes():
    trips = begin(5)
    with with_policy("trips.book", most_in_batch=2):
        assert deliver("trips.book", trips) == []

    assert [len(sagas) for step, sagas in calls if step == "trips.book"] == [2, 2, 1]
    assert all(state(trip, "trips.book") == "done" for trip in trips)


def test_a_failure_in_one_part_of_a_batch_leaves_the_other_parts_done():
    trips = begin(5)
    behaviour["trips.book", trips[1]] = boom
    with with_policy("trips.book", most_in_batch=2):
        (failure,) = deliver("trips.book", trips)

    assert (failure.message.saga, failure.isolated) == (trips[1], True)
    assert [effects(trip) for trip in trips] == [
        [] if trip == trips[1] else ["trips.book"] for trip in trips
    ]


def test_the_answers_to_calls_are_recorded_in_the_batch_of_their_step():
    trips = begin(5)
    deliver("trips.book", trips)
    with with_policy("trips.pay", most_in_batch=2):
        deliver("trips.pay", trips)

    assert [len(sagas) for step, sagas in calls if step == "trips.pay"] == [2, 2, 1]


def test_the_list_of_failing_steps_knows_the_tries_of_each_step(rf: RequestFactory):
    trips = begin(2)
    deliver("trips.book", trips[:1])
    for attempt in (1, 2):
        fail("trips.book", trips[1:], attempt=attempt)
        fail("trips.pay", trips[:1], attempt=attempt)

    with with_policy("trips.pay", tries=2):
        chosen = StateFilter(
            rf.get("/"), {"state__exact": ["failing"]}, Inbox, admin.ModelAdmin(Inbox, admin.site)
        )
        found = chosen.queryset(rf.get("/"), Inbox.objects.all())
        assert [each.saga for each in found] == trips[:1]
    assert row(trips[1], "trips.book").attempts == 2
