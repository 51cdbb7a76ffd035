"""A worker's task does not wait for an outside system, and each answer is recorded as it comes."""

import pytest
from django.db import OperationalError

from sagas.execution import in_flight
from sagas.execution.in_flight import recorder
from sagas.storage import inbox
from tests.broker import take
from tests.integration.sagas.in_flight import PAY, assert_ends_after_unknown_outcome, booked
from tests.processes import until
from tests.trips.harness import LIMIT, deliver, effects, events, make_due, row, state
from tests.trips.models import Outbox
from tests.trips.steps import Pay, behaviour, calls

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("flying")]


def test_the_task_ends_before_the_answer_comes(bank):
    (trip,) = booked()
    bank.serve(trip)
    assert deliver(PAY, [trip]) == []
    bank.await_calls(1)
    assert (state(trip, PAY), row(trip, PAY).attempts) == ("started", 1)
    assert not in_flight.drain(0)

    bank.answer(trip)
    assert in_flight.drain(LIMIT)
    assert state(trip, PAY) == "done"
    assert Outbox.objects.get(saga=trip, type="trip.paid").published_at


def test_the_next_step_is_sent_without_a_flush(bank):
    (trip,) = booked()
    bank.serve(trip)
    bank.answer(trip)
    deliver(PAY, [trip])
    assert in_flight.drain(LIMIT)
    assert "trips.confirm" in [message.args[0] for message in take("trips")]


def test_no_trip_waits_for_the_answer_to_another(bank):
    slow, *others = booked(5)
    bank.serve(slow, *others)
    bank.answer(*others)
    deliver(PAY, [slow, *others])
    until(lambda: all(state(trip, PAY) == "done" for trip in others), "the others are paid")
    assert state(slow, PAY) == "started"


def test_requests_without_a_destination_are_called_together_before_the_task_ends(bank):
    slow, *others = booked(4)
    bank.serve(slow)
    deliver(PAY, [slow, *others])
    assert (PAY + "/call", tuple(others)) in calls
    assert {state(trip, PAY) for trip in others} == {"done"}


def test_each_call_is_made_alone_in_a_thread_with_no_transaction_open(bank):
    trips = booked(3)
    bank.serve(*trips)
    bank.answer(*trips)
    deliver(PAY, trips)
    assert in_flight.drain(LIMIT)
    assert {asked for step, asked in calls if step == PAY + "/call"} == {(trip,) for trip in trips}
    assert all(name.startswith("call-bank-") for name in bank.threads)


def test_answers_that_come_together_share_a_transaction(bank):
    trips = booked(8)
    bank.serve(*trips)
    deliver(PAY, trips)
    bank.await_calls(8)
    bank.answer(*trips)
    assert in_flight.drain(LIMIT)
    recorded = [asked for step, asked in calls if step == PAY]
    assert sorted(trip for batch in recorded for trip in batch) == trips
    assert len(recorded) < len(trips)


def test_a_call_that_raises_has_an_unknown_outcome(bank):
    (trip,) = booked()
    bank.serve(trip)

    def crash(_):
        raise SystemExit("a client that ends its thread")

    behaviour["trips.pay/call", trip] = crash
    deliver(PAY, [trip])
    assert in_flight.drain(LIMIT)
    assert state(trip, PAY) == "waiting"
    assert "SystemExit" in row(trip, PAY).error


def test_a_call_beyond_its_budget_counts_as_unknown_and_its_late_answer_is_recorded(
    bank, monkeypatch
):
    (trip,) = booked()
    bank.serve(trip)
    monkeypatch.setattr(Pay, "budget", 0.05)
    deliver(PAY, [trip])
    assert in_flight.drain(LIMIT)
    assert (state(trip, PAY), row(trip, PAY).error) == (
        "waiting",
        "bank did not answer within 0.05 s.",
    )

    bank.answer(trip)
    until(lambda: state(trip, PAY) == "done", "the late answer is recorded")
    assert effects(trip) == ["trips.book", "trips.pay"]


def test_an_answer_after_the_refund_is_discarded(bank):
    (trip,) = booked()
    bank.serve(trip)
    deliver(PAY, [trip])
    bank.await_calls(1)
    Outbox.objects.filter(saga=trip, type="trip.booked").update(target="trips.refund")
    deliver("trips.refund", [trip])
    bank.answer(trip)
    assert in_flight.drain(LIMIT)
    assert state(trip, PAY) == "refused"
    assert "trip.paid" not in events(trip)


def test_an_answer_that_cannot_be_recorded_is_reported_alone(bank):
    broken, other = booked(2)
    bank.serve(broken, other)

    def explode(_):
        raise ZeroDivisionError

    behaviour[PAY, broken] = explode
    bank.answer(other)
    deliver(PAY, [broken, other])
    until(lambda: state(other, PAY) == "done", "the other is paid")
    bank.answer(broken)
    assert in_flight.drain(LIMIT)

    (report,) = [message for message in take("trips") if message.task == "sagas.fail_step"]
    step, _, failed, reported = report.args
    assert (step, [each["saga"] for each in failed]) == (PAY, [str(broken)])
    assert (reported[0]["attempt"], reported[0]["alone"]) == (1, True)
    assert reported[0]["beside_success"]


def test_answers_are_kept_until_the_database_takes_them(bank, monkeypatch):
    (trip,) = booked()
    bank.serve(trip)
    bank.answer(trip)
    down = [OperationalError("the database restarts")] * 5
    lock_open = inbox.lock_open

    def lock_once_it_is_up(*args, **options):
        if down:
            raise down.pop()
        return lock_open(*args, **options)

    monkeypatch.setattr(inbox, "lock_open", lock_once_it_is_up)
    monkeypatch.setattr(recorder, "RETRY", 0.01)
    deliver(PAY, [trip])
    assert in_flight.drain(LIMIT)
    assert down == []
    assert state(trip, PAY) == "done"


def test_a_claim_is_extended_while_its_call_lives(bank, settings):
    settings.SAGA_LEASE_SECONDS = 0.3
    (trip,) = booked()
    bank.serve(trip)
    deliver(PAY, [trip])
    first = row(trip, PAY).due_at
    until(lambda: row(trip, PAY).due_at > first, "the lease is extended")
    assert state(trip, PAY) == "started"


def test_a_process_claims_no_more_than_it_can_soon_call_for(bank, settings):
    settings.SAGA_CALLS_AT_ONCE = 2
    trips = booked(10)
    bank.serve(*trips)
    deliver(PAY, trips[:2])
    bank.await_calls(2)

    deliver(PAY, trips[2:])
    claimed, waiting = trips[2:4], trips[4:]
    assert {state(trip, PAY) for trip in claimed} == {"started"}
    assert {(state(trip, PAY), row(trip, PAY).attempts) for trip in waiting} == {("waiting", 0)}
    assert all(row(trip, PAY).send_at for trip in waiting)
    assert len(bank.asked) == 2

    bank.answer_all()
    assert in_flight.drain(LIMIT)
    make_due()
    deliver(PAY, waiting[:4])
    assert in_flight.drain(LIMIT)
    assert {row(trip, PAY).attempts for trip in waiting[:4]} == {1}


def test_a_stopping_process_claims_nothing_and_records_what_is_in_flight(bank):
    first, second = booked(2)
    bank.serve(first, second)
    deliver(PAY, [first])
    bank.await_calls(1)
    in_flight.refuse()
    deliver(PAY, [second])
    assert (state(second, PAY), row(second, PAY).attempts) == ("waiting", 0)

    bank.answer(first)
    in_flight.stop(LIMIT)
    assert state(first, PAY) == "done"
    assert bank.asked == [first]


def test_a_process_that_is_no_worker_waits_for_its_calls(bank):
    in_flight.stop(LIMIT)
    (trip,) = booked()
    bank.serve(trip)
    bank.answer(trip)
    deliver(PAY, [trip])
    assert state(trip, PAY) == "done"


def test_a_trip_ends_whose_first_call_had_an_unknown_outcome(bank):
    (trip,) = booked()
    bank.serve(trip)
    assert_ends_after_unknown_outcome(bank, trip)
