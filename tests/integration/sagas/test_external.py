"""An external step calls with no transaction open, and discards answers that come too late."""

from datetime import timedelta

import pytest
from django.db import connection

from sagas.definition.events import NEEDS_ATTENTION
from sagas.definition.handlers import Unknown, Waiting
from sagas.definition.messages import OutboxRow
from sagas.storage import inbox
from tests.trips.harness import (
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
from tests.trips.models import Inbox, Outbox
from tests.trips.steps import Asked, NotPaid, behaviour, calls

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trip():
    (trip,) = begin()
    deliver("trips.book", [trip])
    return trip


def test_the_call_runs_outside_any_transaction_after_the_intent_is_committed(trip):
    seen = []

    def call(_):
        seen.append((connection.in_atomic_block, state(trip, "trips.pay")))

    behaviour["trips.pay/call", trip] = call
    deliver("trips.pay", [trip])
    assert seen == [(False, "started")]
    assert state(trip, "trips.pay") == "done"


def test_the_row_of_a_worker_lost_during_the_call_is_taken_over_after_its_lease(trip):
    inbox.claim(TRIPS, "trips.pay", PLAN, messages_to("trips.pay", [trip]), final=False)
    deliver("trips.pay", [trip])
    assert ("trips.pay/call", (trip,)) not in calls
    make_due()
    deliver("trips.pay", [trip], attempt=1)
    assert (state(trip, "trips.pay"), row(trip, "trips.pay").attempts) == ("done", 2)


def test_the_relay_of_the_service_sends_a_started_row_again_when_it_is_due(trip):
    inbox.claim(TRIPS, "trips.pay", PLAN, messages_to("trips.pay", [trip]), final=False)
    assert inbox.claim_due(TRIPS, limit=10) == []
    make_due()
    (due,) = inbox.claim_due(TRIPS, limit=10)
    assert (due.step, due.attempts, due.stored.message.saga) == ("trips.pay", 1, trip)
    assert inbox.claim_due(TRIPS, limit=10) == []
    deliver("trips.pay", [trip], attempt=1)
    assert state(trip, "trips.pay") == "done"


def test_an_answer_after_the_refund_is_discarded(trip):
    def refunded_meanwhile(_):
        Outbox.objects.filter(saga=trip, type="trip.booked").update(target="trips.refund")
        deliver("trips.refund", [trip])

    behaviour["trips.pay/call", trip] = refunded_meanwhile
    deliver("trips.pay", [trip])
    assert state(trip, "trips.pay") == "refused"
    assert "trip.paid" not in events(trip)
    assert effects(trip) == ["trips.book", "trips.refund"]


def test_a_refusal_by_the_outside_system_is_final(trip):
    behaviour["trips.pay/call", trip] = lambda _: NotPaid(code="declined", detail="No.")
    deliver("trips.pay", [trip])
    assert state(trip, "trips.pay") == "refused"
    assert Outbox.objects.get(saga=trip, type="trip.not_paid").target == "trips.unbook"


def test_a_call_that_raises_has_an_unknown_outcome_and_is_repeated(trip):
    def crash(_):
        raise ConnectionResetError("connection lost during the call")

    behaviour["trips.pay/call", trip] = crash
    assert deliver("trips.pay", [trip]) == []
    assert state(trip, "trips.pay") == "waiting"
    assert "ConnectionResetError" in row(trip, "trips.pay").error


def test_an_answer_that_cannot_be_recorded_fails_alone(trip):
    other = begin()[0]
    deliver("trips.book", [other])

    def explode(_):
        raise ZeroDivisionError

    behaviour["trips.pay", trip] = explode
    (failure,) = deliver("trips.pay", [trip, other])
    assert (failure.message.saga, failure.attempt) == (trip, 1)
    assert (state(trip, "trips.pay"), state(other, "trips.pay")) == ("started", "done")


def test_a_failed_attempt_that_the_claim_has_counted_is_not_counted_again(trip):
    claims = inbox.claim(TRIPS, "trips.pay", PLAN, messages_to("trips.pay", [trip]), final=False)
    fail("trips.pay", [trip], claim=claims.claim)
    fail("trips.pay", [trip], claim=claims.claim)
    assert (state(trip, "trips.pay"), row(trip, "trips.pay").attempts) == ("waiting", 1)


def test_an_unknown_outcome_in_a_batch_does_not_affect_the_others(trip):
    other = begin()[0]
    deliver("trips.book", [other])
    behaviour["trips.pay/call", trip] = lambda _: Unknown(reason="timeout")
    deliver("trips.pay", [trip, other])
    assert (state(trip, "trips.pay"), state(other, "trips.pay")) == ("waiting", "done")
    assert NEEDS_ATTENTION not in events(trip)
    make_due()
    del behaviour["trips.pay/call", trip]
    walk([trip, other])
    assert Inbox.objects.filter(saga=trip, state="done").count() == 4


def test_a_waiting_step_counts_no_attempt_each_time_it_runs(trip):
    behaviour["trips.pay/call", trip] = lambda _: Waiting("The traveller has not paid yet.")
    for _ in range(8):
        deliver("trips.pay", [trip])
        assert (state(trip, "trips.pay"), row(trip, "trips.pay").attempts) == ("waiting", 0)
        make_due()
    assert events(trip) == ["trip.began", "trip.booked"]
    fail("trips.pay", [trip])
    assert (state(trip, "trips.pay"), row(trip, "trips.pay").attempts) == ("waiting", 1)
    make_due()
    del behaviour["trips.pay/call", trip]
    walk([trip])
    assert "trip.travelled" in events(trip)


def test_after_an_agreed_wait_repeated_reports_count_up_to_the_last_one_sent(trip, settings):
    sent = range(1, settings.SAGA_STEP_ATTEMPTS)
    for attempt in sent:
        fail("trips.pay", [trip], attempt=attempt)
    behaviour["trips.pay/call", trip] = lambda _: Waiting("The traveller has not paid yet.")
    for _ in range(2):
        make_due()
        deliver("trips.pay", [trip])
        assert row(trip, "trips.pay").attempts == 0
        for attempt in (*sent, *reversed(sent)):
            fail("trips.pay", [trip], attempt=attempt)
        assert (state(trip, "trips.pay"), row(trip, "trips.pay").attempts) == ("waiting", sent[-1])
    assert events(trip) == ["trip.began", "trip.booked"]
    make_due()
    deliver("trips.pay", [trip])
    assert (state(trip, "trips.pay"), row(trip, "trips.pay").attempts) == ("waiting", 0)


def test_a_notice_goes_to_the_timeline_and_does_not_advance_the_saga(trip):
    behaviour["trips.pay/call", trip] = lambda _: Waiting(
        "The traveller must confirm.", notice=Asked()
    )
    deliver("trips.pay", [trip])
    notice = Outbox.objects.get(saga=trip, type="trip.asked")
    assert (notice.target, notice.step) == (None, "trips.pay")
    assert not outbox_row(notice).entry("trips").ends
    make_due()
    del behaviour["trips.pay/call", trip]
    walk([trip])
    assert outbox_row(Outbox.objects.get(saga=trip, type="trip.travelled")).entry("trips").ends
    assert state(trip, "trips.drop") is None


def test_a_waiting_step_runs_again_after_its_pause(trip):
    behaviour["trips.pay/call", trip] = lambda _: Waiting("Not for long.", pause=600)
    deliver("trips.pay", [trip])
    waiting = row(trip, "trips.pay")
    assert timedelta(seconds=299) <= waiting.send_at - waiting.updated_at <= timedelta(seconds=600)


def test_an_unknown_outcome_may_set_a_longer_pause(trip):
    behaviour["trips.pay/call", trip] = lambda _: Unknown("Too many requests.", after=120)
    deliver("trips.pay", [trip])
    waiting = row(trip, "trips.pay")
    assert waiting.send_at - waiting.updated_at >= timedelta(seconds=119)


def outbox_row(stored):
    return OutboxRow(
        saga=stored.saga,
        started_at=stored.saga_started_at,
        seq=stored.seq,
        type=stored.type,
        step=stored.step,
        step_attempt=1,
        data={},
        context={},
        plan=PLAN,
        target=stored.target,
        headers={},
    )
