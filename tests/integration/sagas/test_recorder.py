"""The recorder of calls in flight: trouble with one row, one answer or one database costs no other
its lease or its answer.
"""

import time
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from sagas.definition import handlers
from sagas.definition.handlers import ExternalStep
from sagas.delivery import wakeup
from sagas.execution import in_flight
from sagas.execution.claiming import claim
from sagas.execution.external import call_outside
from sagas.execution.in_flight import recorder
from sagas.execution.in_flight.calls import Answer, Call
from sagas.execution.in_flight.executor import Executor
from sagas.execution.in_flight.recorder import Recorder
from sagas.storage import inbox
from tests.integration.races import started
from tests.integration.sagas.in_flight import PAY, booked, calls_fly
from tests.processes import until
from tests.trips.harness import LIMIT, PLAN, TRIPS, deliver, messages_to, row, state

pytestmark = pytest.mark.django_db(transaction=True)


# A database that no test uses, so that only the service's name and alias differ.
ELSEWHERE = replace(TRIPS, name="elsewhere", alias="payments")


@dataclass(eq=False)
class Books:
    """A recording that keeps its answers in memory, after the errors that a test gives it."""

    recorded: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    attempts: list = field(default_factory=list)
    has_success: bool = False
    needs_flush: bool = False
    leaves_rows: bool = False

    def record(self, answered, record):
        self.attempts.append((self.has_success, self.needs_flush))
        self.has_success = True
        self.needs_flush = self.leaves_rows
        if self.errors:
            raise self.errors.pop(0)
        self.recorded += [item.claimed.saga for item in answered]
        return self.failures


@pytest.fixture
def executor():
    return Executor()


@pytest.fixture
def recorder_of(executor, monkeypatch):
    """A recorder whose rounds a test runs itself."""
    monkeypatch.setattr(Recorder, "_run", lambda self: None)
    return Recorder(executor)


@pytest.fixture
def flushed(monkeypatch):
    services: list[str] = []
    monkeypatch.setattr(wakeup, "request_flush", services.append)
    return services


def answered(executor, trip, books, *, service=TRIPS):
    """Let the answer to a trip's payment have come; return its call."""
    definition = handlers.definition(PAY)
    assert definition
    handler = definition.handler
    assert isinstance(handler, ExternalStep)
    (claimed,) = claim(TRIPS, definition, PLAN, messages_to(PAY, [trip]), final=False).claimed
    call = Call(
        service=service,
        step=PAY if service is TRIPS else "elsewhere.pay",
        plan=PLAN,
        handler=handler,
        claimed=claimed,
        request=claimed.delivery,
        destination="bank",
        recording=books,
    )
    executor.calls.add(call)
    executor.answers.append(Answer(call, call_outside(handler, PAY, [claimed], [call.request])))
    return call


class TestLeases:
    @pytest.fixture(autouse=True)
    def flying(self):
        with calls_fly():
            yield

    def test_a_locked_row_delays_the_extension_of_no_other(self, bank, settings):
        settings.SAGA_LEASE_SECONDS = 3
        locked, *others = booked(3)
        bank.serve(locked, *others)
        with connection.cursor() as cursor:
            deliver(PAY, [locked, *others])
            bank.await_calls(3)
            before = {trip: row(trip, PAY).due_at for trip in others}
            cursor.execute("BEGIN")
            cursor.execute(
                "SELECT 1 FROM trips_inbox WHERE saga = %s AND step = %s FOR UPDATE", [locked, PAY]
            )
            try:
                until(
                    lambda: started(lambda: extended(before)).result(LIMIT),
                    "the leases of the others are extended",
                )
            finally:
                cursor.execute("ROLLBACK")
        first = row(locked, PAY).due_at
        until(lambda: row(locked, PAY).due_at > first, "the lease of the locked row follows")

    def test_an_error_of_one_claim_delays_the_extension_of_no_other(
        self, bank, settings, monkeypatch
    ):
        settings.SAGA_LEASE_SECONDS = 0.6
        trips = booked(2)
        bank.serve(*trips)
        extend = inbox.extend
        broken: set[UUID] = set()

        def extend_all_but_the_first(service, token, sagas):
            if not broken:
                broken.update(sagas)
            extended = extend(service, token, [saga for saga in sagas if saga not in broken])
            if broken & set(sagas):
                raise DatabaseError("a damaged row")
            return extended

        monkeypatch.setattr(inbox, "extend", extend_all_but_the_first)
        for trip in trips:
            deliver(PAY, [trip])
        first = {trip: row(trip, PAY).due_at for trip in trips}
        until(
            lambda: any(row(trip, PAY).due_at > first[trip] for trip in trips),
            "the lease of the other is extended",
        )
        assert [state(trip, PAY) for trip in trips] == ["started"] * 2


def test_a_lease_that_was_not_extended_is_tried_again_soon(
    executor, recorder_of, settings, monkeypatch
):
    settings.SAGA_LEASE_SECONDS = 600
    extend, down = inbox.extend, [InterfaceError("connection already closed")]

    def extend_once_it_is_up(*arguments):
        if down:
            raise down.pop()
        return extend(*arguments)

    monkeypatch.setattr(inbox, "extend", extend_once_it_is_up)
    (trip,) = booked()
    answered(executor, trip, Books())
    recorder_of._extend_at = 0.0
    first = row(trip, PAY).due_at
    recorder_of._extend_leases()
    assert recorder_of._extend_at < time.monotonic() + 2 * recorder.RETRY

    recorder_of._extend_at = 0.0
    recorder_of._extend_leases()
    assert recorder_of._extend_at > time.monotonic() + 100
    assert row(trip, PAY).due_at > first


def is_paid(trip):
    return state(trip, PAY) == "done"


def extended(before):
    return all(row(trip, PAY).due_at > due_at for trip, due_at in before.items())


class TestAnswers:
    @pytest.mark.parametrize(
        "error", [OperationalError("the database restarts"), InterfaceError("connection closed")]
    )
    def test_answers_of_a_database_that_is_down_delay_no_others(
        self, executor, recorder_of, flushed, error
    ):
        first, second = booked(2)
        down, up = Books(errors=[error]), Books()
        answered(executor, first, down, service=ELSEWHERE)
        answered(executor, second, up)
        assert recorder_of._run_once()
        assert (down.recorded, up.recorded) == ([], [second])
        assert [answer.call.saga for answer in executor.answers] == [first]

    def test_a_database_that_is_down_is_not_asked_again_for_a_while(
        self, executor, recorder_of, flushed, monkeypatch
    ):
        (trip,) = booked()
        books = Books(errors=[OperationalError("the database restarts")])
        answered(executor, trip, books)
        assert not recorder_of._run_once()
        assert not recorder_of._run_once()
        assert len(books.attempts) == 1
        recorder_of._retry_at.clear()
        assert recorder_of._run_once()
        assert books.recorded == [trip]
        assert not executor.calls

    def test_kept_answers_stay_in_their_order(self, executor, recorder_of, flushed):
        trips = booked(3)
        groups = [Books(errors=[OperationalError("down")]) for _ in trips]
        for number, (trip, books) in enumerate(zip(trips, groups, strict=True)):
            call = answered(executor, trip, books)
            call.step = f"trips.pay{number}"
        recorder_of._run_once()
        assert [answer.call.saga for answer in executor.answers] == trips

    @pytest.mark.parametrize("error", [DatabaseError("no such column"), ZeroDivisionError()])
    def test_an_error_that_stays_loses_no_other_answer(self, executor, recorder_of, flushed, error):
        first, second = booked(2)
        broken, other = Books(errors=[error]), Books()
        answered(executor, first, broken, service=ELSEWHERE)
        answered(executor, second, other)
        assert recorder_of._run_once()
        assert other.recorded == [second]
        assert not executor.calls

    def test_a_failed_attempt_leaves_no_state_for_the_next(self, executor, recorder_of, flushed):
        (trip,) = booked()
        books = Books(errors=[OperationalError("the database restarts")], leaves_rows=True)
        answered(executor, trip, books)
        recorder_of._run_once()
        recorder_of._retry_at.clear()
        recorder_of._run_once()
        assert books.attempts == [(False, False)] * 2
        assert (books.has_success, books.needs_flush) == (True, False)

    def test_rows_that_could_not_be_sent_are_flushed(self, executor, recorder_of, flushed):
        (trip,) = booked()
        answered(executor, trip, Books(leaves_rows=True))
        recorder_of._run_once()
        assert flushed == ["trips"]

    def test_an_error_of_a_report_ends_the_call(self, executor, recorder_of, flushed, monkeypatch):
        first, second = booked(2)
        unfit, other = Books(failures=["no failure at all"]), Books()
        answered(executor, first, unfit, service=ELSEWHERE)
        answered(executor, second, other)
        assert recorder_of._run_once()
        assert other.recorded == [second]
        assert not executor.calls


def test_the_answers_behind_many_locks_are_still_recorded(bank, monkeypatch):
    """Each group of answers waits for locks anew, although another group of its batch met some."""
    with calls_fly():
        trips = booked(2)
        bank.serve(*trips)
        met = []

        def note(recording, answers, outcomes):
            met.append(recording.locks_met)
            recording.locks_met += 100
            return original(recording, answers, outcomes)

        original = recorder._record_in
        monkeypatch.setattr(recorder, "_record_in", note)
        deliver(PAY, trips)
        for trip in trips:
            bank.answer(trip)
            until(partial(is_paid, trip), "it is paid")
        assert in_flight.drain(LIMIT)
    assert met == [0, 0]


def test_a_success_is_known_to_the_later_answers_of_the_batch(executor, recorder_of, flushed):
    first, second = booked(2)
    books = Books()
    answered(executor, first, books)
    recorder_of._run_once()
    answered(executor, second, books)
    recorder_of._run_once()
    assert books.attempts == [(False, False), (True, False)]
