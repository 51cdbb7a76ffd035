"""A failed attempt counts once, however often it is reported. Only some steps may be given up."""

import pytest
from msgspec.structs import replace

from sagas.definition.events import NEEDS_ATTENTION
from sagas.execution import failures, runner
from sagas.execution.failures import StepFailed
from tests.trips.harness import (
    PLAN,
    begin,
    deliver,
    effects,
    events,
    fail,
    messages_to,
    row,
    state,
    walk,
)
from tests.trips.models import Outbox

pytestmark = pytest.mark.django_db(transaction=True)


def fail_up_to_the_limit(step, trips, settings, **details):
    for attempt in range(1, settings.SAGA_STEP_ATTEMPTS + 1):
        fail(step, trips, attempt=attempt, **details)


def test_three_reports_of_one_failure_count_once():
    (trip,) = begin()
    for _ in range(3):
        fail("trips.book", [trip])
    assert (row(trip, "trips.book").attempts, state(trip, "trips.book")) == (1, "waiting")


def test_a_failure_of_a_step_that_succeeded_after_all_changes_nothing(settings):
    (trip,) = begin()
    deliver("trips.book", [trip])
    fail_up_to_the_limit("trips.book", [trip], settings)
    assert (state(trip, "trips.book"), events(trip)) == ("done", ["trip.began", "trip.booked"])


def test_a_late_report_of_an_earlier_attempt_does_not_count():
    (trip,) = begin()
    for attempt in (1, 2, 3, 2, 1):
        fail("trips.book", [trip], attempt=attempt)
    assert row(trip, "trips.book").attempts == 3


def test_at_the_limit_a_step_is_given_up_and_its_own_undo_comes_first(settings):
    (trip,) = begin()
    fail_up_to_the_limit("trips.book", [trip], settings)
    assert state(trip, "trips.book") == "refused"
    failure = Outbox.objects.get(saga=trip, type="trip.not_booked")
    assert (failure.target, failure.data["code"]) == ("trips.unbook", "internal_error")
    walk([trip])
    assert effects(trip) == ["trips.unbook", "trips.drop"]


def test_the_failure_that_a_client_sees_contains_no_error_text(settings):
    (trip,) = begin()
    fail_up_to_the_limit("trips.book", [trip], settings, error="password=hunter2")
    assert "hunter2" not in str(Outbox.objects.get(saga=trip, type="trip.not_booked").context)
    assert "hunter2" in row(trip, "trips.book").error


def test_a_step_is_not_given_up_for_failures_of_a_whole_batch(settings):
    trips = begin(2)
    fail_up_to_the_limit("trips.book", trips, settings, isolated=False)
    assert [state(trip, "trips.book") for trip in trips] == ["waiting", "waiting"]


@pytest.mark.parametrize("step", ["trips.unbook", "trips.drop", "trips.travel"])
def test_undos_the_abort_and_steps_after_the_pivot_are_never_given_up(step, settings):
    (trip,) = begin()
    Outbox.objects.filter(saga=trip).update(target=step)
    fail_up_to_the_limit(step, [trip], settings)
    fail(step, [trip], attempt=settings.SAGA_STEP_ATTEMPTS + 1)
    assert (state(trip, step), row(trip, step).attempts) == (
        "waiting",
        settings.SAGA_STEP_ATTEMPTS + 1,
    )
    assert events(trip).count(NEEDS_ATTENTION) == 1


def test_an_unknown_step_is_never_given_up(settings):
    (trip,) = begin()
    Outbox.objects.filter(saga=trip).update(target="trips.fly")
    fail_up_to_the_limit("trips.fly", [trip], settings)
    assert state(trip, "trips.fly") == "waiting"
    assert NEEDS_ATTENTION in events(trip)


def test_a_failed_batch_counts_for_each_of_its_messages():
    trips = begin(3)
    deliver("trips.book", trips[:1])
    fail("trips.book", trips, isolated=False)
    assert [state(trip, "trips.book") for trip in trips] == ["done", "waiting", "waiting"]


@pytest.mark.parametrize("step", ["trips.book", "trips.pay"])
def test_an_unreadable_message_is_not_sent_again_and_an_intact_copy_replaces_it(step, settings):
    (trip,) = begin()
    if step == "trips.pay":
        deliver("trips.book", [trip])
    for attempt in range(settings.SAGA_STEP_ATTEMPTS + 1):
        broken = [
            replace(message, context={}) for message in messages_to(step, [trip], attempt=attempt)
        ]
        with pytest.raises(StepFailed, match="cannot read") as failed:
            runner.run(step, PLAN, broken)
        failures.record_failures(PLAN, step, failed.value.failures)
    assert (state(trip, step), row(trip, step).send_at) == ("waiting", None)
    deliver(step, [trip])
    assert (state(trip, step), effects(trip)[-1]) == ("done", step)
