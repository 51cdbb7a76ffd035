"""A signal and the message, the expiry or the undo of a wait meet: one waits for the other's lock.

The inbox row of the wait decides, so each is seen by the other, and no signal is lost.
"""

from collections.abc import Callable
from functools import partial

import pytest
from django.db import transaction

from sagas import SignalResult
from sagas.storage import inbox
from tests.integration.races import at_once, blocked_behind
from tests.integration.sagas.waits import REVIEW, answer, begin, deliver, to_review
from tests.trips.harness import TRIPS, call_off, row, state
from tests.trips.models import Inbox, Outbox
from tests.trips.steps import Reviewed

pytestmark = pytest.mark.django_db(transaction=True)

ACCEPTED, REPEATED, TOO_LATE = SignalResult


@pytest.fixture(autouse=True)
def no_flush(monkeypatch):
    monkeypatch.setattr("sagas.waits.request_flush", lambda service: None)


def on_its_way():
    [trip] = begin()
    deliver("trips.book", [trip])
    return trip


def resend(trip):
    for each in inbox.claim_due(TRIPS, limit=10):
        deliver(each.step, [each.stored.message.saga])


def test_a_signal_behind_the_first_run_of_the_wait_has_it_sent_again():
    trip = on_its_way()
    with transaction.atomic():
        deliver(REVIEW, [trip])
        late = blocked_behind("default", lambda: answer(trip))
    assert late.result(timeout=10) is ACCEPTED
    resend(trip)
    assert state(trip, REVIEW) == "done"


def test_the_first_run_of_the_wait_behind_a_signal_reads_it():
    trip = on_its_way()
    with transaction.atomic():
        assert answer(trip) is ACCEPTED
        late = blocked_behind("default", lambda: deliver(REVIEW, [trip]))
    late.result(timeout=10)
    assert state(trip, REVIEW) == "done"


def test_a_signal_behind_the_expiry_comes_too_late():
    [trip] = to_review()
    Inbox.objects.filter(step=REVIEW).update(
        expires_at="2020-01-01T00:00:00Z", due_at="2020-01-01T00:00:00Z"
    )
    with transaction.atomic():
        deliver(REVIEW, [trip])
        late = blocked_behind("default", lambda: answer(trip))
    assert (late.result(timeout=10), state(trip, REVIEW)) == (TOO_LATE, "refused")


def test_a_signal_behind_a_cancel_comes_too_late():
    [trip] = to_review()
    with transaction.atomic():
        call_off(trip)
        late = blocked_behind("default", lambda: answer(trip))
    assert (late.result(timeout=10), state(trip, REVIEW)) == (TOO_LATE, "refused")


def test_a_signal_behind_the_undo_of_the_wait_comes_too_late():
    trip = on_its_way()
    Outbox.objects.filter(saga=trip, type="trip.booked").update(target=f"{REVIEW}.close")
    with transaction.atomic():
        deliver(f"{REVIEW}.close", [trip])
        late = blocked_behind("default", lambda: answer(trip))
    assert (late.result(timeout=10), state(trip, REVIEW)) == (TOO_LATE, "refused")


@pytest.mark.parametrize("before", [on_its_way, lambda: to_review()[0]])
def test_of_many_signals_at_once_one_counts(before):
    trip = before()
    scores = range(4)
    results = at_once([partial(answer, trip, Reviewed(score=score)) for score in scores])
    assert sorted(result.value for result in results) == ["accepted", *["repeated"] * 3]
    assert row(trip, REVIEW).signal["data"]["score"] == results.index(ACCEPTED)


def test_the_message_and_a_signal_at_once_always_meet():
    trips = [on_its_way() for _ in range(10)]
    for trip in trips:
        both: list[Callable[[], object]] = [partial(deliver, REVIEW, [trip]), partial(answer, trip)]
        at_once(both)
        resend(trip)
    assert {state(trip, REVIEW) for trip in trips} == {"done"}


def test_the_row_of_a_signal_that_is_rolled_back_leaves_the_wait_as_it_was():
    trip = on_its_way()
    with transaction.atomic():
        answer(trip)
        transaction.set_rollback(True)
    assert state(trip, REVIEW) is None
    deliver(REVIEW, [trip])
    assert state(trip, REVIEW) == "waiting"
