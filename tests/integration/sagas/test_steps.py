"""A step has one effect for each message, and messages of a batch do not affect each other."""

import traceback

import msgspec
import pytest

from sagas.definition import handlers
from sagas.definition.events import NEEDS_ATTENTION
from sagas.definition.handlers import Retry, Unknown
from sagas.execution import runner
from sagas.execution.failures import StepFailed
from tests.trips.harness import (
    PLAN,
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
from tests.trips.models import Outbox
from tests.trips.steps import NotBooked, NotPaid, behaviour, calls

pytestmark = pytest.mark.django_db(transaction=True)

NO_ROOM = NotBooked(code="no_room", detail="The hotel is full.")


def refuse(_):
    return NO_ROOM


def raise_error(_):
    raise ZeroDivisionError("an error of this trip only")


def test_a_saga_runs_to_its_end():
    trips = begin(3)
    walk(trips)
    for trip in trips:
        assert effects(trip) == ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]
        assert events(trip) == [
            "trip.began",
            "trip.booked",
            "trip.paid",
            "trip.confirmed",
            "trip.travelled",
        ]


def test_a_batch_is_handled_in_one_call_ordered_by_saga():
    trips = begin(5)
    deliver("trips.book", list(reversed(trips)))
    assert calls == [("trips.book", tuple(trips))]


def test_a_duplicate_message_does_nothing_and_sends_nothing():
    trips = begin(2)
    deliver("trips.book", trips)
    deliver("trips.book", trips)
    assert [effects(trip) for trip in trips] == [["trips.book"], ["trips.book"]]
    assert events(trips[0]) == ["trip.began", "trip.booked"]


def test_the_same_message_twice_in_one_batch_counts_once():
    trips = begin(2)
    runner.run("trips.book", PLAN, messages_to("trips.book", trips) * 2)
    assert [effects(trip) for trip in trips] == [["trips.book"], ["trips.book"]]


def test_a_refusal_is_recorded_for_its_message_alone_and_commits_with_its_event():
    refused, other = begin(2)
    behaviour["trips.book", refused] = refuse
    assert deliver("trips.book", [refused, other]) == []
    assert (state(refused, "trips.book"), state(other, "trips.book")) == ("refused", "done")
    refusal = Outbox.objects.get(saga=refused, type="trip.not_booked")
    assert refusal.target == "trips.drop"
    assert refusal.context["failure"] == {"code": "no_room", "detail": "The hotel is full."}


def test_a_refusal_sends_the_saga_back_over_the_steps_before_it():
    (trip,) = begin()
    behaviour["trips.pay/call", trip] = lambda _: NotPaid(code="declined", detail="No.")
    walk([trip])
    assert effects(trip)[-2:] == ["trips.unbook", "trips.drop"]
    assert "trips.refund" not in effects(trip)


def test_a_message_that_raises_fails_alone_and_the_others_succeed():
    trips = begin(3)
    behaviour["trips.book", trips[1]] = raise_error
    (failure,) = deliver("trips.book", trips)
    assert (failure.message.saga, failure.attempt, failure.isolated) == (trips[1], 1, True)
    assert "an error of this trip only" in failure.error
    assert [state(trip, "trips.book") for trip in trips] == ["done", None, "done"]
    assert effects(trips[1]) == []


def test_a_failed_step_shows_where_its_handler_raised():
    trips = begin(2)
    behaviour["trips.book", trips[1]] = raise_error
    with pytest.raises(StepFailed) as failed:
        runner.run("trips.book", PLAN, messages_to("trips.book", trips))
    raised = "".join(traceback.format_exception(failed.value))
    assert f"in {raise_error.__name__}" in raised
    assert "an error of this trip only" in raised


def test_a_message_with_an_unreadable_context_fails_alone():
    trips = begin(2)
    Outbox.objects.filter(saga=trips[0]).update(context={"name": 7})
    (failure,) = deliver("trips.book", trips)
    assert failure.message.saga == trips[0]
    assert state(trips[1], "trips.book") == "done"


def test_an_unknown_step_is_reported_and_not_dropped():
    (trip,) = begin()
    with pytest.raises(StepFailed, match="No process of this service knows"):
        runner.run("trips.fly", PLAN, messages_to("trips.book", [trip]))


def test_a_handler_that_returns_too_few_outcomes_fails_and_commits_nothing(monkeypatch):
    (trip,) = begin()
    known = handlers.definition("trips.book")
    assert known is not None
    monkeypatch.setitem(
        handlers._definitions,
        "trips.book",
        msgspec.structs.replace(known, handler=lambda batch: []),
    )
    assert len(deliver("trips.book", [trip])) == 1
    assert state(trip, "trips.book") is None


def test_an_undo_cannot_refuse():
    (trip,) = begin()
    behaviour["trips.book", trip] = refuse
    deliver("trips.book", [trip])
    behaviour["trips.drop", trip] = refuse
    (failure,) = deliver("trips.drop", [trip])
    assert "may not refuse" in failure.error


def test_a_retry_waits_and_the_step_is_given_up_at_the_limit(settings):
    settings.SAGA_STEP_ATTEMPTS = 2
    (trip,) = begin()
    behaviour["trips.book", trip] = lambda _: Retry(reason="The hotel does not answer.")
    deliver("trips.book", [trip])
    assert (state(trip, "trips.book"), row(trip, "trips.book").attempts) == ("waiting", 1)
    make_due()
    deliver("trips.book", [trip])
    assert state(trip, "trips.book") == "refused"
    assert Outbox.objects.get(saga=trip, type="trip.not_booked").target == "trips.unbook"


def test_a_step_with_an_unknown_outcome_is_always_retried_and_needs_attention_once(settings):
    settings.SAGA_STEP_ATTEMPTS = 2
    (trip,) = begin()
    deliver("trips.book", [trip])
    behaviour["trips.pay/call", trip] = lambda _: Unknown(reason="timeout")
    for _ in range(4):
        deliver("trips.pay", [trip])
        make_due()
    assert (state(trip, "trips.pay"), row(trip, "trips.pay").attempts) == ("waiting", 4)
    assert events(trip).count(NEEDS_ATTENTION) == 1
    del behaviour["trips.pay/call", trip]
    walk([trip])
    assert effects(trip)[-1] == "trips.travel"


def test_a_waiting_step_is_not_run_before_it_is_due():
    (trip,) = begin()
    fail("trips.book", [trip])
    deliver("trips.book", [trip])
    assert state(trip, "trips.book") == "waiting"
    make_due()
    deliver("trips.book", [trip])
    assert (state(trip, "trips.book"), row(trip, "trips.book").attempts) == ("done", 2)
