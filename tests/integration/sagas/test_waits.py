"""A wait takes one signal: early or in time, the first of several, and none after its expiry."""

from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db import transaction
from django.utils import timezone
from msgspec.structs import replace

from sagas import Event, SignalResult, control, queries, signal, waits
from sagas.conf import settings
from sagas.delivery import relay
from sagas.execution import runner
from sagas.execution.failures import StepFailed, record_failures
from sagas.operations import holds, redrive, retention, table_stats
from sagas.operations.saga_details import details
from sagas.operations.saga_list import SagaFilter, list_sagas
from sagas.storage import inbox
from sagas.storage.registry import home_names
from staff.signals import wait_rule
from tests.broker import take
from tests.integration.sagas.waits import (
    PLAN,
    REVIEW,
    answer,
    begin,
    deliver,
    record_timeline,
    to_review,
    wait_for,
)
from tests.trips.harness import HOME, TRIPS, age, events, hear_lists, messages_to, row, state
from tests.trips.models import Inbox, Outbox, Trip
from tests.trips.steps import Arrived, Rejected, Reviewed, ReviewExpired

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

ACCEPTED, REPEATED, TOO_LATE = SignalResult
DAY = timedelta(days=1)
WRONG: Any = "much"


@pytest.fixture(autouse=True)
def flushes(monkeypatch):
    """Return the services whose flush is asked for."""
    asked: list[str] = []
    monkeypatch.setattr("sagas.waits.request_flush", asked.append)
    return asked


def resend():
    """Deliver the due open steps, as the relay of the service does."""
    due = inbox.claim_due(TRIPS, limit=1_000)
    for each in due:
        runner.run(each.step, PLAN, [each.stored.message])
    return len(due)


def purge(kept=(), *, home="trips"):
    """Deliver the list of open sagas of the home; return the number of deleted rows."""
    before = timezone.now() - timedelta(days=30)
    return retention.purge(TRIPS, retention.OpenSagas(home, before, list(kept)))


def test_a_wait_stays_open_until_its_expiry_and_says_so_in_the_timeline():
    [trip] = to_review()
    waiting = row(trip, REVIEW)
    assert (waiting.state, waiting.attempts) == ("waiting", 0)
    assert abs(waiting.expires_at - timezone.now() - 3 * DAY) < timedelta(minutes=1)
    assert timedelta(0) <= waiting.send_at - waiting.expires_at < timedelta(seconds=5)
    record_timeline([trip])
    tracked = Trip.objects.get(id=trip)
    assert tracked.waits_until == waiting.expires_at
    assert tracked.rescue_at > waiting.expires_at
    assert waits.open_waits(trip) == [(trip, REVIEW, waiting.expires_at)]


def test_a_signal_has_the_wait_sent_at_once_and_its_data_is_the_event(flushes):
    [trip] = to_review()
    assert answer(trip, Reviewed(score=7), why="I know her.") is ACCEPTED
    assert flushes == ["trips"]
    assert resend() == 1
    assert state(trip, REVIEW) == "done"
    assert Outbox.objects.get(saga=trip, type="trip.reviewed").data == {"score": 7, "note": ""}
    kept = row(trip, REVIEW).signal
    assert (kept["by"], kept["why"], kept["data"]["score"]) == ("olga", "I know her.", 7)
    assert waits.open_waits(trip) == []


def test_a_signal_that_comes_early_waits_for_the_message(flushes):
    [trip] = begin()
    assert answer(trip) is ACCEPTED
    assert resend() == 0
    assert queries.open_steps(trip) == []
    assert table_stats.inbox_stats(TRIPS) == []
    deliver("trips.book", [trip])
    deliver(REVIEW, [trip])
    assert state(trip, REVIEW) == "done"
    assert events(trip)[-1] == "trip.reviewed"


def test_the_first_signal_counts_before_and_after_the_step_has_run():
    [trip] = to_review()
    answers = [answer(trip, Reviewed(score=score)) for score in (1, 2)]
    resend()
    answers.append(answer(trip, Rejected(code="odd", detail="It looks odd.")))
    assert answers == [ACCEPTED, REPEATED, REPEATED]
    found = waits.find_signal(REVIEW, trip)
    assert found is not None
    assert found.data["score"] == 1
    assert events(trip).count("trip.reviewed") == 1


def test_a_refusal_by_signal_compensates_the_saga():
    [trip] = to_review()
    assert answer(trip, Rejected(code="odd", detail="It looks odd.")) is ACCEPTED
    resend()
    refused = Outbox.objects.get(saga=trip, type="trip.rejected")
    assert (state(trip, REVIEW), refused.target) == ("refused", "trips.unbook")
    assert refused.context["failure"] == {"code": "odd", "detail": "It looks odd."}


def test_no_signal_counts_after_the_expiry_even_if_no_worker_has_noted_it():
    [trip] = to_review()
    wait_for(3 * DAY)
    assert answer(trip) is TOO_LATE
    assert resend() == 1
    assert (state(trip, REVIEW), answer(trip)) == ("refused", TOO_LATE)
    expired = Outbox.objects.get(saga=trip, type="trip.review_expired")
    assert expired.data["code"] == "review_expired"


def test_a_signal_in_time_counts_even_if_the_worker_comes_after_the_expiry():
    [trip] = to_review()
    wait_for(3 * DAY - timedelta(minutes=1))
    assert answer(trip) is ACCEPTED
    wait_for(DAY)
    resend()
    assert state(trip, REVIEW) == "done"


def test_a_wait_that_is_woken_up_without_a_signal_keeps_its_expiry():
    [trip] = to_review()
    expires_at = row(trip, REVIEW).expires_at
    wait_for(DAY)
    assert queries.wake_up("trips", [trip]) == 1
    assert resend() == 1
    waiting = row(trip, REVIEW)
    assert (waiting.state, waiting.expires_at) == ("waiting", expires_at - DAY)
    assert timedelta(0) <= waiting.send_at - waiting.expires_at < timedelta(seconds=5)


def test_a_repeated_message_does_not_end_a_wait():
    [trip] = to_review()
    deliver(REVIEW, [trip])
    assert events(trip).count("saga.waits_for_signal") == 1


def test_a_signal_to_a_wait_on_hold_counts_after_the_release():
    [trip] = begin()
    deliver("trips.book", [trip])
    holds.hold(TRIPS, step=REVIEW, by="olga", why="The reviewers are ill.")
    deliver(REVIEW, [trip])
    assert (state(trip, REVIEW), answer(trip)) == ("held", ACCEPTED)
    assert (state(trip, REVIEW), resend()) == ("held", 0)
    holds.release(TRIPS, step=REVIEW)
    holds.resume_saga(TRIPS, trip)
    assert resend() == 1
    assert state(trip, REVIEW) == "done"


def test_a_hold_does_not_shorten_the_time_for_a_signal():
    [trip] = begin()
    deliver("trips.book", [trip])
    holds.hold(TRIPS, saga=trip, by="olga", why="Odd.")
    deliver(REVIEW, [trip])
    wait_for(2 * DAY)
    holds.release(TRIPS, saga=trip)
    holds.resume_saga(TRIPS, trip)
    resend()
    assert abs(row(trip, REVIEW).expires_at - timezone.now() - 3 * DAY) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("step", "event", "error"),
    [
        ("trips.book", Reviewed(score=1), "No wait is registered as 'trips.book'"),
        ("trips.fly", Reviewed(score=1), "No wait is registered as 'trips.fly'"),
        (REVIEW, Arrived(), "takes no Arrived, only: Reviewed, Rejected"),
        (REVIEW, Reviewed(score=WRONG), "Expected `int`, got `str`"),
        (REVIEW, Reviewed(score=1, note="a\0b"), "a text with a NUL"),
    ],
)
def test_a_signal_that_fits_no_wait_changes_nothing(step, event, error):
    [trip] = to_review()
    with pytest.raises((LookupError, waits.WrongSignal), match=error):
        signal(Trip.objects.get(id=trip), step, event, by="olga")
    assert row(trip, REVIEW).signal is None
    assert not Inbox.objects.filter(step="trips.fly").exists()


def test_an_early_answer_is_no_open_step_for_an_operator():
    [trip] = begin()
    answer(trip)
    found = Trip.objects.get(id=trip)
    [review] = [step for step in details(found).steps if step.step == REVIEW]
    assert (review.state, review.is_open) == ("not reached", False)
    assert list_sagas(SagaFilter(step=REVIEW)).sagas == []
    assert [saga.steps for saga in list_sagas(SagaFilter()).sagas] == [[]]
    assert control.retry(found) == (False, "No step is waiting for its next attempt.")


def test_a_text_that_only_spells_a_nul_is_taken():
    [trip] = to_review()
    given = Reviewed(score=1, note=r"\u0000")
    assert signal(Trip.objects.get(id=trip), REVIEW, given, by="olga") is ACCEPTED
    assert row(trip, REVIEW).signal["data"]["note"] == r"\u0000"


def test_a_number_that_a_worker_could_not_read_from_json_is_no_answer():
    class Weighed(Event, frozen=True, kw_only=True):
        type: ClassVar[str] = "trip.weighed"
        kilograms: float

    expired = ReviewExpired(code="expired", detail="It was not weighed in time.")
    rule = waits.WaitRule(answer=Weighed, expires=DAY, expired=expired)
    rule.require(Weighed(kilograms=1.5))
    with pytest.raises(waits.WrongSignal, match="got `null`"):
        rule.require(Weighed(kilograms=float("inf")))


def test_a_saga_that_was_never_started_has_no_wait():
    with pytest.raises(LookupError, match="never started"):
        wait_rule(Trip(), REVIEW)


def test_a_saga_without_the_wait_in_its_plan_takes_no_signal():
    [trip] = begin()
    other = Trip.objects.get(id=trip)
    other.plan["steps"] = [step for step in other.plan["steps"] if step["name"] != REVIEW]
    with pytest.raises(LookupError, match=r"has no step 'trips\.review'"):
        signal(other, REVIEW, Reviewed(score=1), by="olga")


def test_a_saga_that_has_ended_takes_no_signal_and_gets_no_row():
    [trip] = begin()
    Trip.objects.update(ended_at=timezone.now())
    assert answer(trip) is TOO_LATE
    assert state(trip, REVIEW) is None


def test_a_signal_counts_only_when_its_transaction_commits(flushes):
    [trip] = to_review()
    with transaction.atomic():
        assert answer(trip) is ACCEPTED
        transaction.set_rollback(True)
    assert row(trip, REVIEW).signal is None
    assert flushes == []
    assert answer(trip) is ACCEPTED


@pytest.mark.parametrize(("elsewhere", "rows"), [(False, 2), (True, 1)])
def test_the_early_signal_of_a_saga_that_never_waited_is_purged(settings, elsewhere, rows):
    settings.SAGA_RETENTION_DAYS = 30
    [trip] = begin()
    answer(trip)
    if elsewhere:  # the wait is in another service, which has no outbox row of the saga
        Outbox.objects.all().delete()
    Trip.objects.update(ended_at=timezone.now())
    age([trip], days=40)
    for home in home_names():
        hear_lists(home=home)
    assert sum(purge(home=home) for home in home_names()) == rows
    assert not Inbox.objects.exists()
    assert not Outbox.objects.exists()


def test_a_saga_that_waits_is_not_purged(settings):
    settings.SAGA_RETENTION_DAYS = 30
    [trip] = to_review()
    age([trip], days=40)
    hear_lists([trip])
    assert purge([trip]) == 0
    assert (state(trip, REVIEW), answer(trip)) == ("waiting", ACCEPTED)


def test_a_thousand_sagas_wait_three_days_without_a_message_or_an_alarm():
    trips = to_review(1_000)
    record_timeline(trips)
    Outbox.objects.update(published_at=timezone.now())
    take("trips")

    for _ in range(6):
        assert relay.flush(TRIPS) == 0
        assert redrive.run_once(HOME) == 0
        wait_for(timedelta(hours=11, minutes=50))
    assert [*take("trips"), *take("celery")] == []

    [found] = table_stats.inbox_stats(TRIPS)
    assert found[:3] == (REVIEW, "agreed", 1_000)
    home = table_stats.saga_stats(HOME)
    assert (home.open, home.stalled, home.redriven, home.oldest_seconds) == (1_000, 0, 0, 0)
    assert not Trip.objects.exclude(needs_attention=False, redrives=0, early_redrives=0).exists()
    assert queries.failing_steps("trips") == []

    wait_for(timedelta(hours=1))
    assert relay.flush(TRIPS) == 1_000
    assert relay.flush(TRIPS) == 0


def test_the_messages_of_waits_name_no_attempt_so_nothing_is_given_up():
    [trip] = to_review()
    for _ in range(10):
        queries.wake_up("trips", [trip])
        resend()
    assert (row(trip, REVIEW).attempts, state(trip, REVIEW)) == (0, "waiting")
    assert messages_to(REVIEW, [trip])[0].attempt == 0


def test_a_signal_ends_the_agreed_wait_so_that_a_lost_message_behind_it_is_found():
    [trip] = to_review()
    record_timeline([trip])
    tracked = Trip.objects.get(id=trip)
    assert answer(trip) is ACCEPTED
    tracked.refresh_from_db()
    assert tracked.waits_until is None
    assert tracked.rescue_at <= timezone.now() + timedelta(seconds=settings.STALL_SECONDS)


def test_an_early_signal_leaves_the_wait_that_the_saga_is_in():
    [trip] = to_review()
    record_timeline([trip])
    row_before = Trip.objects.get(id=trip)
    assert signal(row_before, "trips.arrive", Arrived(), by="olga") is ACCEPTED
    assert Trip.objects.get(id=trip).waits_until == row_before.waits_until is not None


def test_a_signal_that_is_rolled_back_leaves_the_agreed_wait():
    [trip] = to_review()
    record_timeline([trip])
    with transaction.atomic():
        answer(trip)
        transaction.set_rollback(True)
    assert Trip.objects.get(id=trip).waits_until is not None


def test_a_signal_that_is_too_large_for_a_message_is_refused():
    [trip] = to_review()
    with pytest.raises(waits.WrongSignal, match="bytes of JSON"):
        answer(trip, Reviewed(score=1, note="x" * 70_000))
    assert row(trip, REVIEW).signal is None
    assert answer(trip, Reviewed(score=1, note="x" * 65_000)) is ACCEPTED
    assert resend() == 1
    assert state(trip, REVIEW) == "done"


def test_a_signal_that_this_release_cannot_read_never_gives_the_wait_up():
    [trip] = to_review()
    answer(trip)
    Inbox.objects.filter(step=REVIEW).update(
        signal={"type": "trip.reviewed_later", "data": {}, "by": "olga"}
    )
    for _ in range(settings.STEP_ATTEMPTS + 1):
        queries.wake_up("trips", [trip])
        [due] = inbox.claim_due(TRIPS, limit=1)
        with pytest.raises(StepFailed) as failed:
            runner.run(due.step, PLAN, [replace(due.stored.message, attempt=due.attempts)])
        record_failures(PLAN, REVIEW, failed.value.failures)
    assert state(trip, REVIEW) == "waiting"
    assert "trip.review_expired" not in events(trip)
