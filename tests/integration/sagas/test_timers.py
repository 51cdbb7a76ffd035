"""A timer ends at its time and never before, and costs nothing until then."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from msgspec.structs import replace

from sagas import control, queries, signal, waits
from sagas.conf import settings
from sagas.definition import handlers
from sagas.delivery import relay
from sagas.execution import runner
from sagas.execution.failures import StepFailed, record_failures
from sagas.management.saga_tables import detail_lines
from sagas.operations import holds, redrive, retention, table_stats
from sagas.operations.saga_details import details
from sagas.storage import inbox
from tests.broker import take
from tests.integration.races import blocked_behind
from tests.integration.sagas.waits import record_timeline, wait_for
from tests.trips.harness import (
    HOME,
    TRIPS,
    age,
    begin,
    call_off,
    events,
    hear_lists,
    messages_to,
    row,
    state,
)
from tests.trips.models import Inbox, Outbox, Trip
from tests.trips.saga import TIMED_TRIP
from tests.trips.steps import Arrived, calls

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

PLAN = TIMED_TRIP.plan
REST, REMIND = "trips.rest", "trips.remind"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WRONG: Any = "tomorrow"


def deliver(step, trips):
    runner.run(step, PLAN, messages_to(step, trips))


def to_rest(count=1):
    trips = begin(count, declaration=TIMED_TRIP)
    deliver("trips.book", trips)
    deliver(REST, trips)
    return trips


def to_remind(count=1):
    """Let trips come to the timer behind their pivot, which waits for seven days."""
    trips = to_rest(count)
    wait_for(HOUR)
    resend()
    deliver("trips.confirm", trips)
    deliver(REMIND, trips)
    return trips


def resend():
    """Deliver the due open steps, as the relay of the service does."""
    due = inbox.claim_due(TRIPS, limit=1_000)
    for each in due:
        runner.run(each.step, PLAN, [replace(each.stored.message, attempt=each.attempts)])
    return len(due)


def returning(monkeypatch, found):
    """Let the timer of the rest last until another time."""
    definition = handlers.definition(REST)
    assert definition
    assert definition.timer
    rule = replace(definition.timer, until=lambda _: found)
    monkeypatch.setitem(handlers._definitions, REST, replace(definition, timer=rule))


def test_a_timer_waits_until_the_time_that_its_function_returned_once():
    [trip] = to_rest()
    resting = row(trip, REST)
    assert resting.state == "waiting"
    assert resting.expires_at == Trip.objects.get(id=trip).created_at + HOUR
    assert timedelta(0) <= resting.send_at - resting.expires_at < timedelta(seconds=5)
    record_timeline([trip])
    tracked = Trip.objects.get(id=trip)
    assert tracked.waits_until == resting.expires_at
    assert tracked.rescue_at > resting.expires_at

    wait_for(HOUR)
    assert resend() == 1
    assert state(trip, REST) == "done"
    assert calls.count(("trips.rest/until", (trip,))) == 1
    assert events(trip)[-2:] == ["saga.waits_for_time", "saga.timer_elapsed"]


def test_a_timer_for_a_time_that_is_over_lets_the_saga_go_on_at_once(monkeypatch):
    returning(monkeypatch, datetime(2001, 1, 1, tzinfo=UTC))
    [trip] = to_rest()
    assert state(trip, REST) == "done"
    assert "saga.waits_for_time" not in events(trip)


def test_no_retry_and_no_repeated_message_shortens_a_timer():
    [trip] = to_rest()
    until = row(trip, REST).expires_at
    for _ in range(settings.STEP_ATTEMPTS + 1):
        assert control.retry(Trip.objects.get(id=trip))[0]
        assert resend() == 1
    deliver(REST, [trip])
    resting = row(trip, REST)
    assert (resting.state, resting.attempts, resting.expires_at) == ("waiting", 0, until)
    assert timedelta(0) <= resting.send_at - until < timedelta(seconds=5)


def test_a_redrive_does_not_shorten_a_timer():
    [trip] = to_rest()
    until = row(trip, REST).expires_at
    assert redrive.republish(TRIPS, sagas=[trip]) > 0
    for step in ("trips.book", REST):
        deliver(step, [trip])
    resend()
    assert (state(trip, REST), row(trip, REST).expires_at) == ("waiting", until)


def test_a_hold_neither_shortens_nor_extends_the_time():
    [trip] = to_rest()
    until = row(trip, REST).expires_at
    holds.hold(TRIPS, saga=trip, by="olga", why="Odd.")
    wait_for(2 * HOUR)
    resend()
    assert state(trip, REST) == "held"
    holds.release(TRIPS, saga=trip)
    holds.resume_saga(TRIPS, trip)
    assert row(trip, REST).expires_at == until - 2 * HOUR
    assert resend() == 1
    assert state(trip, REST) == "done"


def test_a_timer_takes_no_signal_and_is_no_open_wait():
    [trip] = to_rest()
    with pytest.raises(LookupError, match=r"No wait is registered as 'trips\.rest'"):
        signal(Trip.objects.get(id=trip), REST, Arrived(), by="olga")
    assert waits.open_waits(trip) == []


def test_a_cancel_closes_the_timer_in_its_transaction():
    [trip] = to_rest()
    with transaction.atomic():
        call_off(trip)
        late = blocked_behind("default", lambda: deliver(REST, [trip]))
    late.result(timeout=10)
    wait_for(DAY)
    assert (state(trip, REST), resend()) == ("refused", 0)
    assert "saga.timer_elapsed" not in events(trip)


def test_the_time_of_a_timer_that_comes_with_a_cancel_has_one_outcome():
    [trip] = to_rest()
    wait_for(HOUR)
    with transaction.atomic():
        resend()
        late = blocked_behind("default", lambda: call_off(trip))
    late.result(timeout=10)
    assert state(trip, REST) == "done"
    target = Outbox.objects.filter(saga=trip, type="trip.called_off").values_list("target")
    assert [*target] == [("trips.rest.close",)]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (WRONG, "must return a datetime with a time zone, but returned 'tomorrow'"),
        (datetime(2030, 1, 1), "must return a datetime with a time zone"),  # noqa: DTZ001  as a user may
        (datetime(9998, 1, 1, tzinfo=UTC), "more than 100 years"),
    ],
)
def test_a_timer_whose_time_is_wrong_is_given_up_before_the_pivot(monkeypatch, found, says):
    returning(monkeypatch, found)
    [trip] = begin(declaration=TIMED_TRIP)
    deliver("trips.book", [trip])
    messages = messages_to(REST, [trip])
    for _ in range(settings.STEP_ATTEMPTS):
        with pytest.raises(StepFailed) as failed:
            runner.run(REST, PLAN, messages)
        record_failures(PLAN, REST, failed.value.failures)
        Inbox.objects.update(due_at=timezone.now())
        messages = [replace(messages[0], attempt=row(trip, REST).attempts)]
    assert says in row(trip, REST).error
    refused = Outbox.objects.get(saga=trip, type="saga.timer_failed")
    assert (state(trip, REST), refused.target) == ("refused", "trips.rest.close")


def test_a_saga_with_a_timer_is_not_purged(settings):
    settings.SAGA_RETENTION_DAYS = 30
    [trip] = to_rest()
    age([trip], days=40)
    hear_lists([trip])
    before = timezone.now() - timedelta(days=30)
    assert retention.purge(TRIPS, retention.OpenSagas("trips", before, [trip])) == 0
    assert state(trip, REST) == "waiting"


def test_an_operator_sees_until_when_the_timer_waits():
    [trip] = to_rest()
    Outbox.objects.update(published_at=timezone.now())
    [line] = [
        line
        for line in detail_lines(details(Trip.objects.get(id=trip)))
        if line.startswith("Waits for")
    ]
    assert line == f"Waits for  the time of trips.rest, {row(trip, REST).expires_at:%F %T}Z"


@pytest.mark.slow
def test_a_thousand_timers_run_six_days_without_a_message_or_an_alarm():
    trips = to_remind(1_000)
    record_timeline(trips)
    Outbox.objects.update(published_at=timezone.now())
    take("trips")

    for _ in range(6):
        wait_for(DAY - timedelta(minutes=10))
        assert relay.flush(TRIPS) == 0
        assert redrive.run_once(HOME) == 0
    assert [*take("trips"), *take("celery")] == []

    [found] = [each for each in table_stats.inbox_stats(TRIPS) if each[0] == REMIND]
    assert found[:3] == (REMIND, "agreed", 1_000)
    home = table_stats.saga_stats(HOME)
    assert (home.open, home.stalled, home.redriven, home.oldest_seconds) == (1_000, 0, 0, 0)
    assert not Trip.objects.exclude(needs_attention=False, redrives=0, early_redrives=0).exists()
    assert queries.failing_steps("trips") == []

    wait_for(DAY + 2 * HOUR)
    assert relay.flush(TRIPS) == 1_000
    assert relay.flush(TRIPS) == 0
