"""A row that another session keeps locked delays the saga that needs it, and no other one."""

import pytest
from django.db import OperationalError

from sagas.celery import tasks
from sagas.delivery import publisher, relay
from sagas.execution import runner
from sagas.storage import inbox, outbox, timeline
from tests.broker import empty, take
from tests.sessions import another_session
from tests.trips.harness import (
    HOME,
    TRIPS,
    begin,
    call_off,
    deliver,
    effects,
    fail,
    make_due,
    row,
    state,
)
from tests.trips.models import Inbox, Outbox, TimelineEvent, Trip
from tests.trips.steps import behaviour, calls

pytestmark = pytest.mark.django_db(transaction=True)

LOCK_INBOX = "SELECT 1 FROM trips_inbox WHERE saga = %s FOR UPDATE"
LOCK_INBOX_OF = "SELECT 1 FROM trips_inbox WHERE saga = %s AND step ="
LOCK_TRIP = "SELECT 1 FROM trips_trip WHERE id = %s FOR UPDATE"
LOCK_OUTBOX = "SELECT 1 FROM trips_outbox WHERE saga = %s FOR UPDATE"
INSERT = """
INSERT INTO trips_inbox (saga, saga_started_at, step, state, attempts, error)
VALUES (%s, now(), 'trips.book', 'done', 1, '')
"""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(inbox, "LOCK_WAIT_MS", 50)
    monkeypatch.setattr(runner, "LOCK_WAIT_AGAIN_MS", 20)


def needs_its_trip(delivery):
    """Behave as a step that locks the saga's row of the domain."""
    Trip.objects.select_for_update().get(id=delivery.saga)


def lock_domain_row_of(trip):
    """Let the step need the domain's row of a trip, and lock that row in another session."""
    behaviour["trips.book", trip] = needs_its_trip
    return another_session(LOCK_TRIP, trip)


@pytest.mark.parametrize("position", range(4))
def test_a_locked_row_of_the_domain_delays_only_its_saga(position):
    trips = begin(4)
    locked = trips[position]
    with lock_domain_row_of(locked):
        assert deliver("trips.book", trips) == []
        assert {trip for trip in trips if state(trip, "trips.book") == "done"} == {*trips} - {
            locked
        }
        waiting = row(locked, "trips.book")
        assert (waiting.state, waiting.attempts, waiting.losses) == ("waiting", 0, 0)
        assert waiting.send_at is not None

    make_due()
    empty()
    assert relay.flush(TRIPS) >= 1
    deliver("trips.book", [locked])
    assert effects(locked) == ["trips.book"]


def test_the_sagas_beside_a_locked_row_run_in_large_batches():
    trips = begin(16)
    with lock_domain_row_of(trips[5]):
        deliver("trips.book", trips)
    sizes = [len(sagas) for step, sagas in calls if step == "trips.book"]
    assert sorted(size for size in sizes if size > 1)[-2:] == [8, 16]
    assert len(sizes) <= 9


def test_a_locked_inbox_row_delays_only_its_saga_and_is_sent_at_its_own_time():
    trips = begin(4)
    fail("trips.book", trips[:1])
    make_due()
    with another_session(LOCK_INBOX, trips[0]):
        assert deliver("trips.book", trips, attempt=1) == []
        assert [state(trip, "trips.book") for trip in trips[1:]] == ["done"] * 3
        assert [len(sagas) for step, sagas in calls if step == "trips.book"] == [3]
    assert (row(trips[0], "trips.book").state, row(trips[0], "trips.book").attempts) == (
        "waiting",
        1,
    )
    assert row(trips[0], "trips.book").send_at is not None


def test_an_uncommitted_inbox_row_of_another_run_delivers_the_task_again_for_its_saga():
    trips = begin(3)
    with another_session(INSERT, trips[0]):
        with pytest.raises(OperationalError, match="lock timeout"):
            deliver("trips.book", trips)
        assert [state(trip, "trips.book") for trip in trips[1:]] == ["done"] * 2
    deliver("trips.book", trips)
    assert [state(trip, "trips.book") for trip in trips] == ["done"] * 3


def test_a_locked_table_counts_no_attempt():
    trips = begin(3)
    with another_session("LOCK TABLE trips_effect"):
        assert deliver("trips.book", trips) == []
    assert set(Inbox.objects.values_list("state", "attempts")) == {("waiting", 0)}
    assert Inbox.objects.count() == 3


def test_an_undo_that_meets_the_locked_row_of_its_action_delays_only_its_saga():
    first, second = begin(2)
    for step in ("trips.book", "trips.pay"):
        deliver(step, [first, second])
    for trip in (first, second):
        call_off(trip)

    with another_session(f"{LOCK_INBOX_OF} 'trips.pay' FOR UPDATE", first):
        assert deliver("trips.refund", [first, second]) == []
        assert state(second, "trips.refund") == "done"
        waiting = row(first, "trips.refund")
        assert (waiting.state, waiting.attempts) == ("waiting", 0)

    deliver("trips.refund", [first])
    assert state(first, "trips.refund") == "done"


def test_an_answer_that_meets_a_locked_row_is_asked_for_again_and_the_others_are_recorded():
    trips = begin(4)
    deliver("trips.book", trips)
    with another_session() as session:

        def lock_then_answer(saga):
            session(f"{LOCK_INBOX_OF} 'trips.pay' FOR UPDATE", saga)

        behaviour["trips.pay/call", trips[2]] = lock_then_answer
        assert deliver("trips.pay", trips) == []
        states = [state(trip, "trips.pay") for trip in trips]
        assert states == ["done", "done", "started", "done"]

    behaviour.clear()
    make_due()
    deliver("trips.pay", [trips[2]])
    assert state(trips[2], "trips.pay") == "done"


def rows_sent_of(trips):
    """Return the published entries of trips that booked, none of which is recorded yet."""
    deliver("trips.book", trips)
    TimelineEvent.objects.filter(type="trip.booked").delete()
    Outbox.objects.filter(type="trip.booked").update(published_at=None, due_at="2020-01-01T00:00Z")
    return [each for each in outbox.claim(TRIPS, limit=100) if each.type == "trip.booked"]


def test_a_locked_tracked_row_delays_only_the_timeline_of_its_saga():
    trips = begin(3)
    entries = [each.entry("trips") for each in rows_sent_of(trips)]
    with another_session(LOCK_TRIP, trips[1]):
        with pytest.raises(timeline.SagasLocked) as raised:
            timeline.record(HOME, entries)
        assert [entry.saga for entry in raised.value.entries] == [trips[1]]
        recorded = TimelineEvent.objects.filter(type="trip.booked").values_list("saga", flat=True)
        assert set(recorded) == {trips[0], trips[2]}
    assert timeline.record(HOME, entries) == 1


def test_the_entries_of_a_locked_saga_are_sent_and_retried_alone():
    trips = begin(3)
    rows = rows_sent_of(trips)
    empty()
    with another_session(LOCK_TRIP, trips[1]):
        publisher.publish(TRIPS, rows)
        (sent,) = [each for each in take("trips") if each.task == "sagas.record"]
        assert [entry["saga"] for entry in sent.args[1]] == [str(trips[1])]
    assert tasks.record.run(*sent.args) == 1


def test_a_re_drive_skips_a_locked_outbox_row():
    first, second = begin(2)
    relay.flush(TRIPS)
    with another_session(LOCK_OUTBOX, first):
        assert outbox.republish(TRIPS, sagas=[first, second]) == 1


def test_locked_names_the_rows_that_another_session_keeps():
    first, second = begin(2)
    deliver("trips.book", [first, second])
    with another_session(LOCK_INBOX, first):
        assert inbox.locked(TRIPS, ["trips.book"], [first, second]) == {(first, "trips.book")}
    assert inbox.locked(TRIPS, ["trips.book"], [first, second]) == set()


def sizes_sent():
    return sorted(len(sent.args[2]) for sent in take("trips") if sent.task == "sagas.run_step")


def test_only_lost_processes_make_the_batches_of_waiting_steps_smaller():
    trips = begin(8)
    relay.flush(TRIPS)
    for attempt in (1, 2, 3):
        fail("trips.book", trips, attempt=attempt)
    make_due()
    empty()
    relay.flush(TRIPS)
    assert sizes_sent() == [8]

    Inbox.objects.update(losses=3)
    make_due()
    relay.flush(TRIPS)
    assert sizes_sent() == [1] * 8
