"""A story runs the real steps, replaces outcomes for one saga, and tells its runs."""

import re
from datetime import UTC, datetime

import pytest
from django.db import transaction
from django.test import TestCase

from sagas.delivery import relay, wakeup
from sagas.storage.registry import get_service
from sagas.testing import story
from sagas.testing.expectations import contradictions
from sagas.testing.mailbox import InboxState
from sagas.testing.record import Record
from tests.broker import empty, take
from tests.trips import harness
from tests.trips.harness import begin, deliver, effects, state
from tests.trips.models import Outbox, Trip
from tests.trips.saga import TRIP
from tests.trips.steps import Booked, CalledOff, NotPaid, Refunded, behaviour

NOW = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _ordinary_steps():
    harness.forget()


def trip():
    return story(TRIP, lambda: begin()[0])


class TestInATestCase(TestCase):
    def test_a_story_runs_in_the_transaction_of_a_test_case(self):
        trip().when("trips.pay").refuses().run().expect(ended="cancelled", undone=["trips.book"])


@pytest.mark.django_db(transaction=True)
def test_a_story_sends_nothing_where_the_test_commits(monkeypatch):
    empty()
    woken: list[str] = []

    def note_flush(thread):
        woken.append(thread.service)
        return 0

    monkeypatch.setattr(wakeup._FlushThread, "flush_once", note_flush)

    trip().run(until="trips.pay").cancel(CalledOff()).run().expect(ended="cancelled")

    assert not woken
    assert not take("trips")
    assert relay.flush(get_service("trips")) == 0
    assert not Outbox.objects.filter(published_at=None).exists()


@pytest.mark.django_db(transaction=True)
def test_a_trip_that_has_begun_is_taken_up_where_it_is():
    (begun,) = begin()
    deliver("trips.book", [begun])

    story(TRIP, begun).run().expect(ended="done")

    assert effects(begun).count("trips.book") == 1


def test_the_subject_may_be_the_tracked_row():
    row = Trip.objects.get(id=begin()[0])

    assert story(TRIP, row).run().saga == row.id


def test_callbacks_of_a_commit_run_once_although_the_test_is_rolled_back():
    ran, own = [], []
    told = trip()
    behaviour["trips.book", told.saga] = lambda _: transaction.on_commit(lambda: ran.append(1))
    transaction.on_commit(lambda: own.append(1))

    with TestCase.captureOnCommitCallbacks(execute=True):
        told.run().expect(ended="done")

    assert (ran, own) == ([1], [])


def test_callbacks_of_a_run_that_is_rolled_back_do_not_run():
    ran = []
    told = trip()

    def raise_after_registering(delivery):
        transaction.on_commit(lambda: ran.append(delivery.attempt))
        if delivery.attempt == 1:
            raise RuntimeError("boom")

    behaviour["trips.book", told.saga] = raise_after_registering

    told.run().expect(ended="done")

    assert ran == [2]


def test_a_replaced_step_does_not_run_its_own_code():
    told = trip().when("trips.book").succeeds(Booked()).run().expect(ended="done")

    assert "trips.book" not in effects(told.saga)
    assert told.events[1] == "trip.booked"


def test_a_replacement_is_of_one_saga_and_leaves_no_trace():
    trip().when("trips.book").refuses().run().expect(ended="cancelled")

    trip().run().expect(ended="done")


def test_replacements_of_a_step_follow_each_other_and_then_its_own_code_runs():
    told = trip().when("trips.pay").raises(RuntimeError, times=1)
    told.when("trips.pay").waits(times=2).when("trips.pay").unknown(times=1).run()

    told.expect(ended="done")
    verdicts = [str(run.verdict) for run in told.record.runs if run.step == "trips.pay"]
    assert verdicts == ["failed", "is open", "is open", "is open", "done"]


def test_a_refusal_of_ones_own_is_used_as_it_is():
    refusal = NotPaid(code="no_money", detail="The card is empty.")

    told = trip().when("trips.pay").refuses(refusal).run()

    written = Outbox.objects.get(saga=told.saga, type="trip.not_paid")
    assert written.data == {"code": "no_money", "detail": "The card is empty."}


def test_an_undo_may_be_replaced_as_well():
    told = trip().when("trips.confirm").refuses()

    told.when("trips.refund").succeeds(Refunded(applied=True)).run()

    told.expect(ended="cancelled", undone=["trips.pay", "trips.book"])
    assert "trips.refund" not in effects(told.saga)


@pytest.mark.parametrize("step", ["trips.travel", "trips.refund", "trips.drop"])
def test_a_step_that_may_not_refuse_is_an_error_of_the_test(step):
    with pytest.raises(ValueError, match="may not refuse"):
        trip().when(step).refuses()


def test_a_step_that_the_plan_does_not_have_is_an_error_of_the_test():
    with pytest.raises(ValueError, match=r"no step 'trips.fly'\. Its steps are: trips.book"):
        trip().when("trips.fly")


def test_only_an_external_step_has_an_answer_to_lose():
    with pytest.raises(ValueError, match="no ExternalStep"):
        trip().when("trips.book").loses_answer()


def test_an_end_of_the_domain_is_an_error_of_the_test():
    with pytest.raises(ValueError, match="ends as 'done' or 'cancelled', not as 'travelled'"):
        trip().expect(ended="travelled")


def test_a_saga_that_has_not_started_is_an_error_of_the_test():
    with pytest.raises(LookupError, match="has no row in trips_trip or trips_cruise"):
        story(TRIP, "0193a1b2-0000-7000-8000-000000000000")


def test_a_step_that_is_never_final_fails_the_story():
    with pytest.raises(AssertionError, match=r"never came to the end of 'trips.pay'(.|\n)*boom"):
        trip().when("trips.pay").unknown().when("trips.book").raises(RuntimeError("boom")).run(
            until="trips.pay"
        )


def test_a_failed_expectation_tells_the_story():
    told = trip().when("trips.pay").refuses(detail="No money.").run()

    with pytest.raises(AssertionError) as caught:
        told.expect(ended="done", undone=["trips.pay"], needs_attention=True)

    assert str(caught.value).splitlines() == [
        "Expected ended='done', but it is 'cancelled'.",
        "Expected undone=['trips.pay'], but it is ['trips.book'].",
        "Expected needs_attention=True, but it is False.",
        "",
        f"The story of saga 'trip', {told.saga}:",
        "   1. trips.book               done: trip.booked",
        "   2. trips.pay                refused: trip.not_paid (No money.)"
        "  [the story: refuses with trip.not_paid]",
        "   3. trips.unbook             done: trip.unbooked",
        "   4. trips.drop               done: trip.dropped"
        "  [bars trips.confirm, which has not run]",
        "Ended: cancelled.",
        "Undone: trips.book.",
        "Refused: trips.pay.",
    ]


def test_a_barred_step_and_a_duplicate_are_told():
    told = trip().newest_first().run(until="trips.book").with_duplicates()

    told.cancel(CalledOff()).run()

    assert "trips.refund             done: trip.refunded  [bars trips.pay, which" in str(told)
    assert "trips.pay                ignored (Barred by trips.refund.)" in str(told)
    assert state(told.saga, "trips.pay") == "refused"


@pytest.mark.parametrize(
    ("final", "ended_at", "contradiction"),
    [
        (["trips.book", "trips.drop"], NOW, "is cancelled, but these actions are not: .*trips.boo"),
        (["trips.book", "trips.travel"], NOW, "is done, but these actions are not: .*trips.pay"),
        (["trips.drop"], None, "end is 'cancelled', but its row has tracked.ended_at=None"),
        (["trips.book"], NOW, "end is not ended, but its row has tracked.ended_at=.*2026"),
    ],
)
def test_a_saga_that_contradicts_itself_meets_no_expectation(final, ended_at, contradiction):
    states = {step: InboxState("done", 1, "", NOW) for step in final}

    found = list(contradictions(Record(TRIP.plan, states), Trip(ended_at=ended_at)))

    assert re.search(contradiction, "\n".join(found))


def test_a_saga_that_agrees_with_itself_has_no_contradictions():
    undone = [step for step in TRIP.plan.names() if step not in {"trips.confirm", "trips.travel"}]
    states = {step: InboxState("done", 1, "", NOW) for step in undone}

    assert not list(contradictions(Record(TRIP.plan, states), Trip(ended_at=NOW)))
