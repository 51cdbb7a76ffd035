"""No trip pays for a fault that is not its own: the step goes on hold, and one trip at a time tries
it. The first answer releases the hold.
"""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from sagas import sql
from sagas.celery import tasks
from sagas.definition.events import NEEDS_ATTENTION
from sagas.definition.handlers import Retry, Unknown, Waiting
from sagas.definition.hold_scope import HoldScope
from sagas.execution import runner
from sagas.execution.error_blame import Blame
from sagas.execution.failures import Failure, StepFailed, record_failures
from sagas.operations import holds, probing, redrive
from sagas.storage import automatic_holds, faults, inbox
from tests.broker import take
from tests.trips.harness import (
    HOME,
    PLAN,
    TRIPS,
    begin,
    deliver,
    effects,
    events,
    fail,
    make_due,
    messages_to,
    row,
    state,
    walk,
)
from tests.trips.models import Hold, Inbox, Outbox, StepFault, Trip
from tests.trips.steps import behaviour

pytestmark = pytest.mark.django_db(transaction=True)

BACKLOG = """
INSERT INTO trips_inbox (saga, saga_started_at, step, state, attempts, error, due_at)
SELECT uuidv7(), now(), 'trips.book', 'waiting', 0, '', now() + interval '1 hour'
  FROM generate_series(1, %(rows)s) n
"""

STEP = "trips.book"


def explode(_):
    raise ZeroDivisionError("division by zero")


def break_column(_):
    with connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column FROM trips_trip")


def attempt(trips, step=STEP):
    """Deliver a step to trips that are due, and count the failures as the error callback does."""
    numbers = dict(Inbox.objects.filter(step=step).values_list("saga", "attempts"))
    failures = [
        failure for trip in trips for failure in deliver(step, [trip], attempt=numbers.get(trip, 0))
    ]
    if failures:
        record_failures(PLAN, step, failures)
    make_due()


def attempt_together(trips, step=STEP):
    numbers = dict(Inbox.objects.filter(step=step).values_list("saga", "attempts"))
    failures = deliver(step, trips, attempts=numbers)
    if failures:
        record_failures(PLAN, step, failures)
    make_due()


def counted(trip, step=STEP):
    """Return how many attempts count against a trip. Each made some, and none is forgotten."""
    found = row(trip, step)
    assert found.attempts > 0
    return found.attempts - found.excused


def pass_time(seconds):
    """Move all that was recorded into the past."""
    earlier = timedelta(seconds=seconds)
    StepFault.objects.update(first_at=F("first_at") - earlier)
    Inbox.objects.update(updated_at=F("updated_at") - earlier)


def broken(trips, how=explode, step=STEP):
    for trip in trips:
        behaviour[step, trip] = how


def mended(trips, step=STEP):
    for trip in trips:
        behaviour.pop((step, trip), None)


def put_on_hold(trips):
    """Fail for several trips, and for none it succeeds; so the step goes on hold."""
    broken(trips)
    attempt(trips)
    pass_time(5)
    attempt(trips)
    assert on_hold() == [STEP]


def on_hold():
    return [str(scope) for scope in automatic_holds.in_force(TRIPS)]


def probe_round():
    """Run one round of probes, and the steps that it sends."""
    Hold.objects.filter(automatic=True).update(probe_at=timezone.now() - timedelta(seconds=1))
    probing.run_once(TRIPS)
    for sent in take("trips"):
        if sent.task == "sagas.run_step":
            step, _, messages, *_ = sent.args
            try:
                runner.run(step, PLAN, tasks._decode_messages(messages)[0])
            except StepFailed as failed:
                record_failures(PLAN, step, failed.failures)


def given_up(trips, step=STEP):
    return [trip for trip in trips if state(trip, step) == "refused"]


class TestTheOrder:
    def test_a_lone_trip_that_keeps_failing_is_given_up(self, settings):
        (trip,) = begin()
        broken([trip])
        for _ in range(settings.SAGA_STEP_ATTEMPTS):
            attempt([trip])
            pass_time(60)
        assert given_up([trip]) == [trip]

    def test_two_trips_that_fail_alike_while_others_succeed_are_given_up(self, settings):
        bad = begin(2)
        broken(bad)
        for _ in range(settings.SAGA_STEP_ATTEMPTS + 1):
            attempt(bad)
            pass_time(60)
            attempt(begin())
        assert given_up(bad) == bad
        assert on_hold() == []

    def test_a_trip_that_fails_again_after_the_step_succeeded_for_another_is_no_new_evidence(
        self, settings
    ):
        bad = begin(2)
        put_on_hold(bad)
        good = begin()
        attempt(good)
        while on_hold():
            probe_round()
        assert state(good[0], STEP) == "done"
        holds.resume(TRIPS)
        for _ in range(settings.SAGA_STEP_ATTEMPTS):
            attempt(bad)
        assert given_up(bad) == bad

    def test_trips_that_fail_beside_others_of_their_batch_put_nothing_on_hold(self):
        bad, good = begin(2), begin(2)
        broken(bad)
        attempt_together([*bad, *good])
        pass_time(60)
        attempt(bad)
        assert on_hold() == []
        assert [state(trip, STEP) for trip in good] == ["done", "done"]

    def test_trips_that_fail_differently_put_nothing_on_hold(self):
        first, second = begin(2)
        broken([first])
        broken([second], lambda _: Retry(reason="The hotel is full."))
        for _ in range(2):
            attempt([first, second])
            pass_time(60)
        assert on_hold() == []


class TestTheStep:
    def test_a_step_that_fails_alike_for_several_goes_on_hold_and_nothing_is_counted(self):
        trips = begin(3)
        put_on_hold(trips)
        assert [row(trip, STEP).state for trip in trips] == ["held"] * 3
        assert [counted(trip) for trip in trips] == [0] * 3
        hold = Hold.objects.get()
        assert (hold.automatic, hold.by) == (True, "")
        assert "division by zero" in hold.why

    def test_many_trips_at_once_put_the_step_on_hold_at_once(self):
        trips = begin(10)
        broken(trips)
        attempt_together(trips)
        assert on_hold() == [STEP]

    def test_a_new_trip_waits_at_the_hold(self):
        put_on_hold(begin(2))
        (trip,) = begin()
        walk([trip])
        assert (state(trip, STEP), row(trip, STEP).attempts) == ("held", 0)

    def test_a_missing_column_never_counts_and_is_the_steps_even_for_one_trip(self, settings):
        (trip,) = begin()
        broken([trip], break_column)
        for _ in range(settings.SAGA_STEP_ATTEMPTS + 1):
            attempt([trip])
        assert (state(trip, STEP), counted(trip)) == ("waiting", 0)
        assert on_hold() == []
        pass_time(5)
        attempt([trip])
        assert on_hold() == [STEP]

    def test_every_trip_ends_after_the_step_is_mended(self):
        trips = begin(4)
        put_on_hold(trips)
        mended(trips)
        for _ in range(3):
            probe_round()
        assert on_hold() == []
        holds.resume(TRIPS)
        make_due()
        walk(trips)
        ended = ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]
        assert [effects(trip) for trip in trips] == [ended] * 4

    def test_one_trip_at_a_time_tries_and_they_take_turns(self):
        trips = begin(3)
        put_on_hold(trips)
        tried = []
        for _ in range(4):
            probe_round()
            tried.append(Hold.objects.get().probe)
            assert [state(trip, STEP) for trip in trips] == ["held"] * 3
        assert tried == [*trips, trips[0]]

    def test_no_second_probe_is_sent_while_one_is_under_way(self):
        trips = begin(3)
        put_on_hold(trips)
        for _ in range(2):
            Hold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
            probing.run_once(TRIPS)
        assert Hold.objects.get().probes == 1
        assert Inbox.objects.filter(state="waiting").count() == 1

    def test_the_hold_stays_until_its_next_probe_is_due(self):
        put_on_hold(begin(2))
        Hold.objects.update(probe_at=timezone.now() + timedelta(seconds=60))
        probing.run_once(TRIPS)
        assert Hold.objects.get().probes == 0

    def test_a_hold_at_which_no_trip_waits_is_released(self):
        trips = begin(2)
        put_on_hold(trips)
        Inbox.objects.all().delete()
        probe_round()
        assert on_hold() == []

    def test_a_step_that_fails_again_after_the_release_goes_on_hold_again(self):
        trips = begin(2)
        put_on_hold(trips)
        mended(trips)
        for _ in range(2):
            probe_round()
        assert on_hold() == []
        put_on_hold(begin(2))

    def test_trips_that_wait_at_the_hold_have_not_stalled_and_need_no_attention(self):
        trips = begin(3)
        put_on_hold(trips)
        for trip in trips:
            assert "saga.on_hold" in events(trip)
            assert NEEDS_ATTENTION not in events(trip)
        Trip.objects.update(rescue_at="2020-01-01T00:00:00Z", on_hold=STEP)
        assert redrive.run_once(HOME) == 0


class TestHalfOfTheTrips:
    def test_failing_trips_wait_the_others_go_on_and_nothing_is_counted(self, settings):
        bad = begin(6)
        first = bad[0]
        for _ in range(settings.SAGA_STEP_ATTEMPTS + 2):
            broken(bad)
            attempt_together([*bad, *begin(6)])
            bad = [*bad, *begin(6)]
        bad = bad[:-6]
        assert given_up(bad) == []
        assert on_hold() == []
        assert {counted(trip) for trip in bad} == {0}
        assert StepFault.objects.filter(shared=True).count() == len(bad)
        waits = Outbox.objects.filter(saga=first, type="saga.waits_for_repair").count()
        assert waits == settings.SAGA_STEP_ATTEMPTS + 2


class TestTheRelease:
    def test_an_unknown_step_waits_and_is_not_put_on_hold_for_workers_that_know_it(self, settings):
        trips = begin(3)
        Outbox.objects.update(target="trips.fly")
        for _ in range(settings.SAGA_STEP_ATTEMPTS + 1):
            attempt(trips, "trips.fly")
            pass_time(5)
        assert {counted(trip, "trips.fly") for trip in trips} == {0}
        assert on_hold() == []
        assert all(NEEDS_ATTENTION not in events(trip) for trip in trips)

    def test_a_worker_of_another_release_gets_an_unknown_step_within_seconds(self):
        (trip,) = begin()
        Outbox.objects.update(target="trips.fly")
        attempt([trip], "trips.fly")
        pass_time(50)
        record_failures(PLAN, "trips.fly", deliver("trips.fly", [trip], attempt=1))
        waiting = row(trip, "trips.fly")
        assert waiting.state == "waiting"
        assert waiting.due_at < timezone.now() + timedelta(seconds=10)

    def test_a_step_that_no_worker_knows_for_a_minute_goes_on_hold(self):
        trips = begin(2)
        Outbox.objects.update(target="trips.fly")
        attempt(trips, "trips.fly")
        pass_time(61)
        attempt(trips, "trips.fly")
        assert on_hold() == ["trips.fly"]


class TestTheProvider:
    def silent(self, count=3):
        trips = begin(count)
        for trip in trips:
            deliver(STEP, [trip])
            behaviour["trips.pay/call", trip] = lambda _: Unknown(reason="HTTP 503 after 2.1 s")
        return trips

    def test_a_provider_without_answers_puts_the_step_on_hold_and_no_trip_needs_attention(self):
        trips = self.silent()
        attempt(trips, "trips.pay")
        pass_time(5)
        attempt_together(trips, "trips.pay")
        assert on_hold() == ["trips.pay"]
        assert [row(trip, "trips.pay").state for trip in trips] == ["held"] * 3
        assert [counted(trip, "trips.pay") for trip in trips] == [0] * 3
        for _ in range(8):
            probe_round()
        assert all(NEEDS_ATTENTION not in events(trip) for trip in trips)
        assert Hold.objects.get().probes == 8

    def test_a_provider_that_fails_half_of_the_calls_is_asked_again_within_seconds(self):
        trips = [*self.silent(6), *begin(6)]
        for trip in trips[6:]:
            deliver(STEP, [trip])
        attempt_together(trips, "trips.pay")
        pass_time(600)
        deliver("trips.pay", trips)
        assert on_hold() == []
        for trip in trips[:6]:
            waiting = row(trip, "trips.pay")
            assert waiting.state == "waiting"
            assert waiting.due_at < timezone.now() + timedelta(seconds=10)

    @pytest.mark.parametrize("answer", [None, lambda _: Waiting("The traveller confirms.")])
    def test_the_first_answer_releases_the_hold(self, answer):
        trips = self.silent()
        attempt(trips, "trips.pay")
        pass_time(5)
        attempt_together(trips, "trips.pay")
        for trip in trips:
            behaviour["trips.pay/call", trip] = answer or (lambda _: None)
        probe_round()
        probing.run_once(TRIPS)
        assert on_hold() == []


class TestTheProcess:
    def lost(self, trips, attempt, *, isolated=True, lost=False):
        failures = [
            Failure(
                message=message,
                attempt=attempt,
                error=tasks.LOST,
                isolated=isolated,
                blame=Blame.PROCESS,
                lost=lost,
            )
            for message in messages_to(STEP, trips)
        ]
        record_failures(PLAN, STEP, failures)

    def test_a_trip_that_kills_its_process_is_given_up(self, settings):
        (trip,) = begin()
        for number in range(1, settings.SAGA_STEP_ATTEMPTS + 1):
            self.lost([trip], number)
            pass_time(60)
        assert given_up([trip]) == [trip]

    def test_a_step_whose_processes_are_lost_for_several_trips_goes_on_hold(self):
        trips = begin(2)
        self.lost(trips, 1)
        pass_time(5)
        self.lost(trips, 2)
        assert on_hold() == [STEP]

    def test_a_batch_that_is_lost_as_a_whole_counts_for_none_of_its_trips(self, settings):
        trips = begin(3)
        for number in range(1, settings.SAGA_STEP_ATTEMPTS + 1):
            self.lost(trips, number, isolated=False, lost=True)
            make_due()
        assert {counted(trip) for trip in trips} == {0}
        broken(trips[:1])
        attempt(trips[:1])
        assert (state(trips[0], STEP), counted(trips[0])) == ("waiting", 1)

    def test_a_probe_lost_with_a_whole_batch_proves_nothing(self):
        trips = begin(2)
        put_on_hold(trips)
        Hold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
        probing.run_once(TRIPS)
        self.lost(trips, 3, isolated=False)
        probing.run_once(TRIPS)
        assert on_hold() == [STEP]
        assert [state(trip, STEP) for trip in trips] == ["held", "held"]


class TestOperators:
    def test_an_automatic_hold_turned_into_a_manual_one_is_not_released_by_itself(self):
        trips = begin(2)
        put_on_hold(trips)
        assert holds.hold(TRIPS, step=STEP, by="olga", why="We look at it.")
        mended(trips)
        probe_round()
        hold = Hold.objects.get()
        assert (hold.automatic, hold.by, hold.probes) == (False, "olga", 0)
        assert [state(trip, STEP) for trip in trips] == ["held", "held"]

    def test_a_manual_hold_is_not_replaced_by_an_automatic_one(self):
        trips = begin(2)
        broken(trips)
        attempt(trips)
        holds.hold(TRIPS, step=STEP, by="olga", why="We look at it.")
        assert not automatic_holds.place(TRIPS, HoldScope(STEP), why="It fails.")
        assert Hold.objects.get().by == "olga"

    def test_an_automatic_hold_is_released_by_hand_and_returns_with_the_next_failure(self):
        trips = begin(2)
        put_on_hold(trips)
        assert holds.release(TRIPS, step=STEP)
        holds.resume(TRIPS)
        attempt(trips[:1])
        assert on_hold() == [STEP]
        assert given_up(trips) == []


class TestProbes:
    def test_a_cancel_of_the_probe_proves_nothing(self):
        trips = begin(3)
        for trip in trips:
            deliver("trips.book", [trip])
        broken(trips, step="trips.pay")
        attempt(trips, "trips.pay")
        pass_time(5)
        attempt(trips, "trips.pay")
        assert on_hold() == ["trips.pay"]
        Hold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
        probing.run_once(TRIPS)
        probe = Hold.objects.get().probe
        assert probe
        inbox.bar(TRIPS, "trips.pay", messages_to("trips.pay", [probe]), reason="It is cancelled.")
        assert (state(probe, "trips.pay"), row(probe, "trips.pay").attempts) == ("refused", 2)
        probing.run_once(TRIPS)
        assert on_hold() == ["trips.pay"]


class TestSuccesses:
    def test_a_success_is_found_behind_a_long_backlog_of_waiting_messages(self, settings):
        """Rows of messages that wait are newer than the row of the trip that succeeds."""
        (good,) = begin()
        fail(STEP, [good])
        bad = begin(2)
        broken(bad)
        attempt(bad)
        pass_time(5)
        sql.run("default", BACKLOG, {"rows": faults.READ + 1})
        attempt([good])
        for _ in range(settings.SAGA_STEP_ATTEMPTS):
            attempt(bad)
        assert on_hold() == []
        assert given_up(bad) == bad


class TestHomes:
    def test_a_home_keeps_a_copy_for_a_minute_and_deletes_it_long_after(self):
        tasks.note_holds("trips", "payments", ["payments.charge"])
        copy = Hold.objects.get()
        assert copy.expires_at
        assert copy.expires_at > timezone.now() + timedelta(seconds=30)
        assert on_hold() == []
        begin()
        Trip.objects.update(rescue_at="2020-01-01T00:00:00Z", on_hold="payments.charge")
        assert redrive.run_once(HOME) == 0
        Hold.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert redrive.run_once(HOME) == 1
        tasks.note_holds("trips", "payments", [])
        assert Hold.objects.exists()
        Hold.objects.update(expires_at=timezone.now() - timedelta(hours=1))
        tasks.note_holds("trips", "payments", [])
        assert not Hold.objects.exists()

    def test_a_message_about_other_steps_ends_no_copy(self):
        """One hold of a service may end before another one. Its sagas then go on."""
        tasks.note_holds("trips", "payments", ["payments.charge", "payments.refund"])
        tasks.note_holds("trips", "payments", ["payments.refund"])
        begin()
        Trip.objects.update(rescue_at="2020-01-01T00:00:00Z", on_hold="payments.charge")
        assert redrive.run_once(HOME) == 0

    def test_a_message_about_the_homes_own_steps_holds_nothing(self):
        tasks.note_holds("trips", "trips", [STEP])
        tasks.note_holds("trips", "payments", [STEP])
        assert not Hold.objects.exists()


def test_the_runner_reports_the_blame_of_an_error():
    (trip,) = begin()
    broken([trip], break_column)
    with pytest.raises(StepFailed) as failed:
        runner.run(STEP, PLAN, messages_to(STEP, [trip]))
    assert failed.value.failures[0].blame is Blame.STEP
