"""Holds: a step on hold does not run, is not lost, counts no failure, and runs once after the
release.
"""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from sagas.celery import tasks
from sagas.definition.handlers import Unknown
from sagas.delivery import relay
from sagas.delivery.task_signatures import task_signature
from sagas.ids import uuid7
from sagas.lifecycle import CancelResult
from sagas.operations import holds, redrive, retention
from sagas.operations.table_stats import hold_stats, inbox_stats, saga_stats
from sagas.storage.registry import home_names
from tests.broker import empty, take
from tests.integration.races import started
from tests.trips.harness import (
    HOME,
    PLAN,
    TRIPS,
    age,
    begin,
    call_off,
    deliver,
    effects,
    events,
    fail,
    hear_lists,
    make_due,
    row,
    state,
    walk,
)
from tests.trips.models import Effect, Hold, Outbox, Trip
from tests.trips.steps import behaviour

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = "2020-01-01T00:00:00Z"


def hold(**scope):
    return holds.hold(TRIPS, **scope, by="olga", why="The bank is down.")


def run_queued_tasks():
    """Run the tasks in the broker, as a worker does, until the queue is empty."""
    while sent := take("trips"):
        for message in sent:
            getattr(tasks, message.task.removeprefix("sagas."))(*message.args)
            for _ in message.chained:
                tasks.flush("trips")


def release_and_deliver(**scope):
    """Release a hold, resume its steps and run them; return the number of resumed steps."""
    holds.release(TRIPS, **scope)
    sent = holds.resume(TRIPS)
    run_queued_tasks()
    return sent


class TestHolding:
    @pytest.mark.parametrize("step", ["trips.book", "trips.pay"])
    def test_a_step_on_hold_keeps_its_message_and_counts_no_attempt(self, step):
        (trip,) = begin()
        hold(step=step)
        walk([trip])
        held = row(trip, step)
        assert (held.state, held.attempts, held.send_at) == ("held", 0, None)
        assert held.message["message"]["saga"] == str(trip)
        assert step not in effects(trip)

    @pytest.mark.parametrize("step", ["trips.book", "trips.pay"])
    def test_after_the_release_the_step_runs_as_its_first_attempt_and_the_trip_ends(self, step):
        (trip,) = begin()
        hold(step=step)
        walk([trip])
        assert release_and_deliver(step=step) == 1
        assert effects(trip) == ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]
        assert row(trip, step).attempts == 1

    def test_a_saga_on_hold_waits_and_the_others_of_its_batch_do_not(self):
        held, free = begin(2)
        hold(saga=held)
        deliver("trips.book", [held, free])
        assert (state(held, "trips.book"), state(free, "trips.book")) == ("held", "done")
        assert effects(held) == []

    def test_a_saga_on_hold_also_waits_while_it_is_undone(self):
        (trip,) = begin()
        deliver("trips.book", [trip])
        hold(saga=trip)
        call_off(trip)
        walk([trip])
        assert (state(trip, "trips.refund"), effects(trip)) == ("held", ["trips.book"])
        release_and_deliver(saga=trip)
        assert effects(trip)[-2:] == ["trips.unbook", "trips.drop"]

    def test_a_second_hold_changes_nothing_and_the_first_keeps_its_operator_and_reason(self):
        assert hold(step="trips.book")
        assert not holds.hold(TRIPS, step="trips.book", by="anna", why="Me too.")
        assert Hold.objects.values_list("by", "why").get() == ("olga", "The bank is down.")

    def test_a_second_release_changes_nothing(self):
        hold(step="trips.book")
        assert holds.release(TRIPS, step="trips.book")
        assert not holds.release(TRIPS, step="trips.book")

    def test_a_step_under_two_holds_waits_for_both_releases(self):
        (trip,) = begin()
        hold(step="trips.book")
        hold(saga=trip)
        walk([trip])
        assert release_and_deliver(step="trips.book") == 0
        assert holds.resume_saga(TRIPS, trip) == 0
        assert release_and_deliver(saga=trip) == 1

    def test_a_retry_of_a_step_on_hold_is_held_and_keeps_its_attempts(self):
        (trip,) = begin()
        fail("trips.book", [trip])
        hold(step="trips.book")
        make_due()
        relay.flush(TRIPS)
        run_queued_tasks()
        assert (row(trip, "trips.book").state, row(trip, "trips.book").attempts) == ("held", 1)
        release_and_deliver(step="trips.book")
        assert row(trip, "trips.book").attempts == 2


class TestMessages:
    def test_repeated_deliveries_to_a_step_on_hold_change_nothing(self):
        (trip,) = begin()
        hold(step="trips.book")
        for _ in range(3):
            deliver("trips.book", [trip])
        assert events(trip) == ["trip.began", "saga.on_hold"]
        release_and_deliver(step="trips.book")
        assert effects(trip).count("trips.book") == 1

    def test_a_delivery_between_release_and_resume_runs_the_step_once(self):
        (trip,) = begin()
        hold(step="trips.book")
        deliver("trips.book", [trip])
        holds.release(TRIPS, step="trips.book")
        deliver("trips.book", [trip])
        assert state(trip, "trips.book") == "done"
        assert holds.resume(TRIPS) == 0

    def test_held_messages_survive_a_broker_that_loses_its_data(self):
        (trip,) = begin()
        hold(step="trips.book")
        relay.flush(TRIPS)
        run_queued_tasks()
        empty()
        assert release_and_deliver(step="trips.book") == 1
        assert effects(trip)[-1] == "trips.travel"

    def test_a_message_that_is_lost_after_the_resume_is_sent_again(self):
        (trip,) = begin()
        hold(step="trips.book")
        deliver("trips.book", [trip])
        holds.release(TRIPS, step="trips.book")
        holds.resume(TRIPS)
        empty()
        make_due()
        relay.flush(TRIPS)
        run_queued_tasks()
        assert effects(trip)[-1] == "trips.travel"

    def test_an_undo_bars_an_action_that_is_held(self):
        (trip,) = begin()
        deliver("trips.book", [trip])
        hold(step="trips.pay")
        deliver("trips.pay", [trip])
        call_off(trip)
        walk([trip])
        assert (state(trip, "trips.pay"), row(trip, "trips.pay").message) == ("refused", None)
        assert release_and_deliver(step="trips.pay") == 0
        assert effects(trip)[-1] == "trips.drop"

    def test_a_saga_whose_pivot_is_held_can_be_cancelled(self):
        (trip,) = begin()
        hold(step="trips.confirm")
        walk([trip])
        assert state(trip, "trips.confirm") == "held"
        assert call_off(trip) is CancelResult.OURS
        release_and_deliver(step="trips.confirm")
        walk([trip])
        assert "trips.confirm" not in effects(trip)
        assert effects(trip)[-1] == "trips.drop"


class TestInFlight:
    def test_a_step_that_runs_when_the_hold_starts_ends_and_the_next_step_waits(self):
        (trip,) = begin()
        behaviour["trips.book", trip] = lambda _: (
            started(lambda: hold(saga=trip)).result(timeout=20) and None
        )
        walk([trip])
        assert (state(trip, "trips.book"), state(trip, "trips.pay")) == ("done", "held")

    def test_the_answer_to_a_call_made_before_the_hold_is_recorded(self):
        (trip,) = begin()
        deliver("trips.book", [trip])

        def hold_during_the_call(saga):
            hold(step="trips.pay")
            make_due()  # the call outlasts its lease, and the relay sends the step again
            deliver("trips.pay", [saga])
            assert state(saga, "trips.pay") == "held"

        behaviour["trips.pay/call", trip] = hold_during_the_call
        deliver("trips.pay", [trip])
        assert (state(trip, "trips.pay"), effects(trip)) == ("done", ["trips.book", "trips.pay"])

    def test_an_unknown_call_is_not_repeated_until_the_release(self):
        (trip,) = begin()
        deliver("trips.book", [trip])
        behaviour["trips.pay/call", trip] = lambda _: Unknown("no answer")
        deliver("trips.pay", [trip])
        del behaviour["trips.pay/call", trip]
        hold(step="trips.pay")
        make_due()
        relay.flush(TRIPS)
        run_queued_tasks()
        assert (state(trip, "trips.pay"), row(trip, "trips.pay").error) == ("held", "no answer")
        release_and_deliver(step="trips.pay")
        assert effects(trip)[-1] == "trips.travel"

    def test_a_step_held_during_the_release_is_resumed_by_the_next_round(self):
        (trip,) = begin()
        hold(step="trips.book")
        with transaction.atomic():
            deliver("trips.book", [trip])  # not committed, so the held row is not visible
            assert started(lambda: release_and_deliver(step="trips.book")).result(timeout=20) == 0
        assert state(trip, "trips.book") == "held"
        tasks.release_held("trips")
        run_queued_tasks()
        assert effects(trip)[-1] == "trips.travel"


class TestResuming:
    def test_a_round_is_bounded_takes_the_oldest_first_and_requests_the_next(self, monkeypatch):
        monkeypatch.setattr(holds, "BATCH_SIZE", 2)
        trips = begin(3)
        hold(step="trips.book")
        for trip in trips:
            deliver("trips.book", [trip])
        empty()
        holds.release(TRIPS, step="trips.book")
        assert tasks.release_held("trips") == 2
        assert [state(trip, "trips.book") for trip in trips] == ["waiting", "waiting", "held"]
        assert "sagas.release_held" in [sent.task for sent in take("trips")]
        assert tasks.release_held("trips") == 1
        assert "sagas.release_held" not in [sent.task for sent in take("trips")]

    def test_no_round_starts_while_the_queue_is_long(self, monkeypatch):
        monkeypatch.setattr(holds, "MAX_QUEUE_LENGTH", 1)
        (trip,) = begin()
        hold(step="trips.book")
        deliver("trips.book", [trip])
        holds.release(TRIPS, step="trips.book")
        task_signature("flush", "trips", queue="trips").apply_async()
        assert holds.resume(TRIPS) == 0
        empty()
        assert holds.resume(TRIPS) == 1

    def test_rows_stay_held_while_the_broker_is_down(self, dead_broker):
        (trip,) = begin()
        hold(step="trips.book")
        deliver("trips.book", [trip])
        holds.release(TRIPS, step="trips.book")
        with dead_broker():
            assert tasks.release_held("trips") == 0
        assert state(trip, "trips.book") == "held"
        assert tasks.release_held("trips") == 1


class TestRedrive:
    def stalled(self):
        Trip.objects.update(rescue_at=LONG_AGO)
        return redrive.run_once(HOME)

    def test_a_saga_on_hold_has_not_stalled_until_it_is_released(self):
        (trip,) = begin()
        hold(saga=trip)
        assert self.stalled() == 0
        holds.release(TRIPS, saga=trip)
        assert self.stalled() == 1

    def test_a_saga_that_waits_at_a_step_on_hold_has_not_stalled_and_others_have(self):
        waiting, other = begin(2)
        hold(step="trips.book")
        deliver("trips.book", [waiting])
        relay.flush(TRIPS)
        run_queued_tasks()
        assert Trip.objects.get(id=waiting).on_hold == "trips.book"
        Trip.objects.filter(id=other).update(on_hold="")
        assert self.stalled() == 1
        holds.release(TRIPS, step="trips.book")
        assert self.stalled() == 2

    def test_the_next_event_clears_the_hold_at_the_home(self):
        begin()
        hold(step="trips.book")
        relay.flush(TRIPS)
        run_queued_tasks()
        release_and_deliver(step="trips.book")
        assert Trip.objects.get().on_hold == ""

    def test_a_hold_does_not_clear_needs_attention(self):
        (trip,) = begin()
        Trip.objects.update(needs_attention=True)
        hold(step="trips.book")
        deliver("trips.book", [trip])
        relay.flush(TRIPS)
        run_queued_tasks()
        assert Trip.objects.get().needs_attention

    def test_a_redrive_of_a_held_saga_changes_nothing(self):
        (trip,) = begin()
        hold(step="trips.book")
        deliver("trips.book", [trip])
        redrive.republish(TRIPS, [trip])
        run_queued_tasks()
        assert (state(trip, "trips.book"), events(trip).count("saga.on_hold")) == ("held", 1)


class TestStats:
    def test_held_sagas_are_counted_separately_and_not_as_stalled_or_old(self):
        waiting, other = begin(2)
        hold(step="trips.book")
        hold(saga=other)
        relay.flush(TRIPS)
        run_queued_tasks()
        Trip.objects.update(rescue_at=LONG_AGO, created_at=LONG_AGO)
        stats = saga_stats(HOME)
        assert (stats.open, stats.stalled, stats.on_hold, stats.oldest_seconds) == (2, 0, 2, 0.0)
        assert [(rows.step, rows.state, rows.rows) for rows in inbox_stats(TRIPS)] == [
            ("trips.book", "held", 2)
        ]
        assert {(held.step, held.number) for held in hold_stats(TRIPS)} == {
            ("trips.book", 1),
            (None, 1),
        }
        assert Effect.objects.count() == 0
        assert {waiting, other} == set(
            Outbox.objects.filter(type="saga.on_hold").values_list("saga", flat=True)
        )


def test_only_holds_of_sagas_that_ended_long_ago_are_purged():
    ended, still_open = begin(2)
    elsewhere = uuid7()  # no message of it ever came to this service
    walk([ended, still_open])
    Trip.objects.update(ended_at=timezone.now())
    for trip in (ended, still_open, elsewhere):
        hold(saga=trip)
    hold(step=PLAN.first)
    age([ended, still_open], days=32)
    Hold.objects.update(since=timezone.now() - timedelta(days=32))
    before = timezone.now() - timedelta(days=30)
    for home in home_names():
        hear_lists([still_open], home=home)
        retention.purge(TRIPS, retention.OpenSagas(home, before, [still_open]))
    assert set(Hold.objects.values_list("saga", flat=True)) == {still_open, None}
