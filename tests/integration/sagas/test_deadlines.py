"""A deadline undoes its saga before the pivot, and calls a person after it. It acts once."""

from datetime import timedelta
from threading import Thread

import pytest
from django.db import connection, transaction
from django.utils import timezone

from sagas import deadlines
from sagas.celery.tasks import redrive_stalled
from sagas.definition.events import NEEDS_ATTENTION
from sagas.definition.handlers import Unknown, Waiting
from sagas.lifecycle import CancelResult
from sagas.operations import holds
from sagas.storage import outbox, timeline
from sagas.testing import story
from tests.trips.harness import (
    HOME,
    TRIPS,
    begin,
    call_off,
    deliver,
    effects,
    events,
    make_due,
    row,
    state,
    walk,
)
from tests.trips.models import Outbox, Trip
from tests.trips.saga import TRIP
from tests.trips.steps import behaviour
from tests.trips.tour import BANK_TRIP

pytestmark = pytest.mark.django_db(transaction=True)

MISSED = "saga.deadline_missed"
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def deadline(monkeypatch):
    monkeypatch.setattr(TRIP, "deadline", HOUR)
    monkeypatch.setattr(BANK_TRIP, "deadline", HOUR)


def let_pass(*trips):
    """Let the deadlines of trips be over by the clock of the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE trips_trip SET deadline_at = clock_timestamp() - interval '1 ms'"
            " WHERE id = ANY(%s) AND deadline_at IS NOT NULL",
            [list(trips)],
        )


def tracked(trip):
    return Trip.objects.get(id=trip)


def begun(*steps, declaration=TRIP):
    """Return a trip for which some steps are done."""
    (trip,) = begin(declaration=declaration)
    for step in steps:
        assert deliver(step, [trip], plan=declaration.plan) == []
    return trip


def test_the_deadline_is_counted_from_the_start_by_the_clock_of_the_database():
    trip = tracked(begun())
    assert trip.deadline_at == trip.created_at + HOUR
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s - clock_timestamp()", [trip.deadline_at])
        (left,) = cursor.fetchone()
    assert timedelta(minutes=59) < left <= HOUR


def test_a_saga_that_declares_none_has_no_deadline(monkeypatch):
    monkeypatch.setattr(TRIP, "deadline", None)
    trip = begun("trips.book")

    assert tracked(trip).deadline_at is None
    assert deadlines.run_once(HOME) == 0


def test_a_deadline_that_has_not_passed_does_nothing():
    trip = begun("trips.book")
    assert deadlines.run_once(HOME) == 0
    assert (MISSED in events(trip), tracked(trip).deadline_at is None) == (False, False)


def test_before_the_pivot_the_saga_is_undone_with_the_code_deadline():
    trip = begun("trips.book", "trips.pay")
    let_pass(trip)

    assert deadlines.run_once(HOME) == 1
    missed = Outbox.objects.get(saga=trip, type=MISSED)
    assert (missed.target, missed.context["failure"]["code"]) == ("trips.refund", "deadline")
    assert state(trip, "trips.confirm") == "refused"
    walk([trip])
    assert effects(trip) == [
        "trips.book",
        "trips.pay",
        "trips.refund",
        "trips.unbook",
        "trips.drop",
    ]


def test_a_deadline_acts_once():
    trip = begun("trips.book")
    let_pass(trip)

    assert [deadlines.run_once(HOME) for _ in range(3)] == [1, 0, 0]
    let_pass(trip)
    assert deadlines.run_once(HOME) == 0
    assert (events(trip).count(MISSED), tracked(trip).deadline_at) == (1, None)


def test_the_periodic_redrive_lets_deadlines_act():
    trip = begun("trips.book")
    let_pass(trip)
    redrive_stalled("trips")
    assert MISSED in events(trip)


def test_after_the_pivot_the_saga_goes_on_and_needs_attention():
    trip = begun("trips.book", "trips.pay", "trips.confirm")
    let_pass(trip)

    assert deadlines.run_once(HOME) == 1
    told = story(TRIP, trip).run(until="trips.confirm")
    assert MISSED not in told.events
    attention = Outbox.objects.get(saga=trip, type=NEEDS_ATTENTION)
    assert attention.data == {"step": "trips.confirm", "reason": "deadline"}

    entry = attention_entry(trip)
    timeline.record(HOME, [entry])
    assert tracked(trip).needs_attention
    told.run().expect(ended="done", needs_attention=False)


def attention_entry(trip):
    rows = [found for found in outbox.of_saga(TRIPS, trip) if found.type == NEEDS_ATTENTION]
    return rows[-1].entry("trips")


def test_after_the_pivot_a_person_is_told_once():
    trip = begun("trips.book", "trips.pay", "trips.confirm")
    let_pass(trip)
    for _ in range(3):
        deadlines.run_once(HOME)
        let_pass(trip)
    assert events(trip).count(NEEDS_ATTENTION) == 1


def test_a_saga_that_has_ended_has_no_deadline_any_more():
    trip = begun()
    story(TRIP, trip).run().expect(ended="done")
    let_pass(trip)
    assert deadlines.run_once(HOME) == 0
    assert NEEDS_ATTENTION not in events(trip)


def test_a_saga_that_is_undone_already_is_not_undone_again():
    trip = begun("trips.book")
    assert call_off(trip) is CancelResult.OURS
    let_pass(trip)

    assert deadlines.run_once(HOME) == 1
    assert (MISSED in events(trip), tracked(trip).deadline_at) == (False, None)


def test_a_pivot_that_is_under_way_wins_and_counts_as_done():
    trip = begun("trips.book", "trips.pay")
    let_pass(trip)
    acted = []

    def look_meanwhile(_):
        thread = Thread(target=look)
        thread.start()
        threads.append(thread)
        await_lock_waiter()

    def look():
        try:
            acted.append(deadlines.run_once(HOME))
        finally:
            connection.close()

    threads: list[Thread] = []
    behaviour["trips.confirm", trip] = look_meanwhile
    deliver("trips.confirm", [trip])
    threads[0].join(20)

    assert (state(trip, "trips.confirm"), acted) == ("done", [1])
    assert (MISSED in events(trip), NEEDS_ATTENTION in events(trip)) == (False, True)


def await_lock_waiter():
    """Wait until another session waits for a lock of this transaction."""
    limit = timezone.now() + timedelta(seconds=20)
    while timezone.now() < limit:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1")
            if cursor.fetchone():
                return
    pytest.fail("The deadline never waited for the row of the pivot.")


def test_a_pivot_that_comes_after_the_deadline_does_not_run():
    trip = begun("trips.book", "trips.pay")
    let_pass(trip)
    deadlines.run_once(HOME)
    deliver("trips.confirm", [trip])

    assert (state(trip, "trips.confirm"), "trips.confirm" in effects(trip)) == ("refused", False)


def test_two_redrives_at_once_have_one_effect():
    trips = [begun("trips.book") for _ in range(6)]
    let_pass(*trips)
    counts = []

    def look():
        try:
            counts.append(deadlines.run_once(HOME))
        finally:
            connection.close()

    threads = [Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sum(counts) == len(trips)
    assert [events(trip).count(MISSED) for trip in trips] == [1] * len(trips)


def test_two_processes_with_the_same_deadline_in_hand_have_one_effect():
    trip = begun("trips.book", "trips.pay", "trips.confirm")
    let_pass(trip)
    results = []

    def act():
        try:
            results.append(deadlines.act(HOME, Trip, trip))
        finally:
            connection.close()

    with transaction.atomic():
        Trip.objects.select_for_update().get(id=trip)
        threads = [Thread(target=act) for _ in range(2)]
        for thread in threads:
            thread.start()
        await_lock_waiter()
    for thread in threads:
        thread.join(20)

    assert sorted(results) == [False, True]
    assert events(trip).count(NEEDS_ATTENTION) == 1


def test_a_saga_that_waits_as_agreed_is_undone():
    trip = begun("trips.book")
    behaviour["trips.pay/call", trip] = lambda _: Waiting("The bank thinks.", pause=900)
    deliver("trips.pay", [trip])
    Trip.objects.filter(id=trip).update(waits_until=timezone.now() + timedelta(days=1))
    let_pass(trip)

    assert deadlines.run_once(HOME) == 1
    told = story(TRIP, trip).run()
    told.expect(ended="cancelled", waiting=[])


def test_a_saga_that_waits_at_a_step_on_hold_is_undone():
    trip = begun("trips.book")
    holds.hold(TRIPS, step="trips.pay", by="ada", why="The bank is down.")
    deliver("trips.pay", [trip])
    assert state(trip, "trips.pay") == "held"
    let_pass(trip)

    assert deadlines.run_once(HOME) == 1
    story(TRIP, trip).run().expect(ended="cancelled", waiting=[])


def test_a_saga_on_hold_is_undone_when_its_hold_is_released():
    trip = begun("trips.book")
    holds.hold(TRIPS, saga=trip, by="ada", why="A question to the customer.")
    let_pass(trip)

    assert deadlines.run_once(HOME) == 1
    story(TRIP, trip).run().expect(ended=None)
    holds.release(TRIPS, saga=trip)
    holds.resume(TRIPS)
    story(TRIP, trip).run().expect(ended="cancelled")


def test_while_an_outside_pivot_is_undecided_the_deadline_waits():
    trip = begun("trips.book", declaration=BANK_TRIP)
    behaviour["trips.pay/call", trip] = lambda _: Unknown(reason="no answer")
    deliver("trips.pay", [trip], plan=BANK_TRIP.plan)
    let_pass(trip)

    assert deadlines.run_once(HOME) == 0
    again = tracked(trip).deadline_at
    assert timezone.now() < again <= timezone.now() + timedelta(seconds=deadlines.PAUSE)
    assert deadlines.run_once(HOME) == 0

    del behaviour["trips.pay/call", trip]
    make_due()
    deliver("trips.pay", [trip], attempt=1, plan=BANK_TRIP.plan)
    let_pass(trip)
    assert (deadlines.run_once(HOME), NEEDS_ATTENTION in events(trip)) == (1, True)


def test_an_outside_pivot_that_has_not_begun_is_barred():
    trip = begun("trips.book", declaration=BANK_TRIP)
    let_pass(trip)

    assert deadlines.run_once(HOME) == 1
    story(BANK_TRIP, trip).run().expect(ended="cancelled", undone=["trips.book"])


def test_a_deadline_that_cannot_act_delays_no_other_and_is_tried_again(caplog):
    bad, good = begun("trips.book"), begun("trips.book")
    Trip.objects.filter(id=bad).update(plan={"saga": "trip"})
    let_pass(bad, good)

    assert deadlines.run_once(HOME) == 1
    assert (MISSED in events(bad), MISSED in events(good)) == (False, True)
    assert f"deadline of saga {bad}" in caplog.text
    assert tracked(bad).deadline_at > timezone.now()


def test_a_round_is_bounded_and_takes_the_oldest_deadline_first(monkeypatch):
    monkeypatch.setattr(deadlines, "BATCH_SIZE", 1)
    first, second = begun("trips.book"), begun("trips.book")
    let_pass(second)
    Trip.objects.filter(id=first).update(deadline_at=timezone.now() - HOUR)

    assert deadlines.run_once(HOME) == 1
    assert [MISSED in events(trip) for trip in (first, second)] == [True, False]


@pytest.mark.parametrize("until", ["trips.book", "trips.pay"])
def test_a_story_meets_its_deadline_before_the_pivot(until):
    (trip,) = begin()
    told = story(TRIP, trip).run(until=until).at_deadline().run()

    told.expect(ended="cancelled", done=[], waiting=[], needs_attention=False)
    assert MISSED in told.events
    with pytest.raises(ValueError, match="no deadline, or it has acted"):
        told.at_deadline()


@pytest.mark.parametrize("seed", range(5))
def test_a_deadline_in_any_order_of_messages_leaves_nothing_behind(seed):
    (trip,) = begin()
    told = story(TRIP, trip).in_any_order(seed).with_duplicates()
    told.when("trips.pay").loses_answer()
    told.run(until="trips.book").at_deadline().run()

    told.expect(ended="cancelled", done=[], waiting=[])


def test_the_claim_of_a_late_pivot_is_not_counted_as_a_failure():
    trip = begun("trips.book", "trips.pay")
    let_pass(trip)
    deadlines.run_once(HOME)
    assert (row(trip, "trips.confirm").attempts, row(trip, "trips.confirm").state) == (0, "refused")
