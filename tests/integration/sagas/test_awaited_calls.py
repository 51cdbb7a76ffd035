"""The calls of an `AsyncExternalStep` are awaited in one event loop of the process."""

import asyncio
import threading

import pytest

from sagas.definition.handlers import ExternalStep, Waiting, definition
from sagas.execution import in_flight
from tests.integration.sagas.in_flight import (
    PAY,
    assert_ends_after_unknown_outcome,
    booked,
    calls_fly,
)
from tests.processes import until
from tests.trips.awaited_pay import AwaitedPay, threads_of_calls, with_awaited_pay
from tests.trips.harness import LIMIT, TRIPS, deliver, effects, row, state
from tests.trips.steps import NotPaid, behaviour, calls, destinations

pytestmark = pytest.mark.django_db(transaction=True)

LOOP = "call-loop"


@pytest.fixture(autouse=True)
def awaited(monkeypatch):
    """Await the payments. In a worker the loop ends with its process; here the test closes it."""
    loops = []
    new_event_loop = asyncio.new_event_loop

    def remember_loop():
        loops.append(new_event_loop())
        return loops[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", remember_loop)
    with with_awaited_pay(), calls_fly():
        yield
    until(lambda: not any(loop.is_running() for loop in loops), "the loops have ended")
    for loop in loops:
        loop.close()


def serve(bank, *trips):
    """Let the payments of trips fly to a bank, and await its answers."""
    for trip in trips:
        destinations[trip] = bank.name
        behaviour["trips.pay/call", trip] = bank.answer_later


def test_many_calls_are_awaited_in_one_thread_and_the_task_ends_before_they_answer(bank):
    trips = booked(12)
    serve(bank, *trips)
    assert deliver(PAY, trips) == []
    bank.await_calls(12)
    assert {state(trip, PAY) for trip in trips} == {"started"}
    assert threads_of_calls == {LOOP}
    assert not [each for each in threading.enumerate() if each.name.startswith("call-bank")]

    bank.answer(*trips)
    assert in_flight.drain(LIMIT)
    assert {state(trip, PAY) for trip in trips} == {"done"}
    assert all(effects(trip).count(PAY) == 1 for trip in trips)


def test_an_answer_does_not_wait_for_another(bank):
    slow, *others = booked(5)
    serve(bank, slow, *others)
    bank.answer(*others)
    deliver(PAY, [slow, *others])
    until(lambda: all(state(trip, PAY) == "done" for trip in others), "the others are paid")
    assert state(slow, PAY) == "started"


@pytest.mark.parametrize("outcome", [NotPaid(code="no", detail="No."), Waiting("Confirm.")])
def test_an_awaited_answer_is_recorded_as_any_other(bank, outcome):
    (trip,) = booked()
    serve(bank, trip)
    bank.answer(trip, outcome=outcome)
    deliver(PAY, [trip])
    assert in_flight.drain(LIMIT)
    assert state(trip, PAY) == ("waiting" if isinstance(outcome, Waiting) else "refused")


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, SystemExit])
def test_an_awaited_call_that_raises_has_an_unknown_outcome_and_the_loop_goes_on(bank, error):
    failing, other = booked(2)
    serve(bank, other)

    async def crash(_):
        raise error("a client that fails")

    destinations[failing] = bank.name
    behaviour["trips.pay/call", failing] = crash  # type: ignore[assignment]  # it is awaited
    bank.answer(other)
    deliver(PAY, [failing, other])
    assert in_flight.drain(LIMIT)
    assert state(failing, PAY) == "waiting"
    assert error.__name__ in row(failing, PAY).error
    assert state(other, PAY) == "done"


def test_an_awaited_call_beyond_its_budget_is_unknown_and_its_late_answer_is_recorded(
    bank, monkeypatch
):
    (trip,) = booked()
    serve(bank, trip)
    monkeypatch.setattr(AwaitedPay, "budget", 0.1)
    deliver(PAY, [trip])
    until(lambda: state(trip, PAY) == "waiting", "the outcome counts as unknown")
    assert "did not answer within 0.1 s" in row(trip, PAY).error
    bank.answer(trip)
    until(lambda: state(trip, PAY) == "done", "the late answer is recorded")
    assert bank.asked == [trip]


def test_the_limit_of_calls_at_once_holds_for_awaited_calls(bank, settings):
    settings.SAGA_CALLS_AT_ONCE = 3
    trips = booked(6)
    serve(bank, *trips)
    deliver(PAY, trips[:1])
    bank.await_calls(1)
    deliver(PAY, trips[1:])
    bank.await_calls(3)
    step = definition(PAY)
    assert step
    handler = step.handler
    assert isinstance(handler, ExternalStep)
    assert in_flight.rooms(TRIPS, PAY, handler, {"bank": 1}) == {"bank": 0}
    assert len(bank.asked) == 3
    bank.answer_all()
    assert in_flight.drain(LIMIT)


def test_awaited_requests_without_a_destination_are_called_together_in_the_task():
    trips = booked(3)
    deliver(PAY, trips)
    assert (PAY + "/call", tuple(trips)) in calls
    assert threads_of_calls == {threading.current_thread().name}
    assert {state(trip, PAY) for trip in trips} == {"done"}


def test_a_stopping_process_records_what_is_awaited_and_ends_the_loop(bank):
    (trip,) = booked()
    serve(bank, trip)
    deliver(PAY, [trip])
    bank.await_calls(1)
    bank.answer(trip)
    in_flight.stop(LIMIT)
    assert state(trip, PAY) == "done"
    until(
        lambda: LOOP not in {each.name for each in threading.enumerate()},
        "the thread of the loop has ended",
    )


def test_a_trip_ends_whose_first_awaited_call_had_an_unknown_outcome(bank):
    (trip,) = booked()
    serve(bank, trip)
    assert_ends_after_unknown_outcome(bank, trip)
