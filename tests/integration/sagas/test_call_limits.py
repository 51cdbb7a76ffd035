"""Limits of calls hold over all processes of a service. Messages over a limit wait as rows."""

import threading
import time
from functools import partial

import pytest
from django.db import OperationalError, connection
from msgspec import structs

from sagas.definition.limits import Limit, Limits, keys_of
from sagas.execution import in_flight, runner
from sagas.execution.in_flight import executor as executors
from sagas.execution.in_flight import permits, process
from sagas.execution.in_flight.executor import Executor
from sagas.execution.in_flight.lane import Lane
from sagas.execution.in_flight.pacer import Pacer
from sagas.execution.in_flight.permits import Want
from sagas.storage import call_limits
from tests.integration.counts.order_steps import statements
from tests.integration.races import at_once
from tests.integration.sagas.in_flight import PAY, Bank, booked
from tests.processes import until
from tests.trips.harness import LIMIT, PLAN, TRIPS, deliver, messages_to, row, state
from tests.trips.models import CallLimit, Inbox
from tests.trips.steps import Pay

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def limit(key, **most):
    call_limits.set_limit(TRIPS, key, Limit(**most), by="olga", why="The bank asks for it.")


def lane(destination="bank", step=PAY):
    return Lane(TRIPS, step, destination, Pay())


def most_in_a_second(times):
    times = sorted(times)
    return max(sum(at <= other < at + 1 for other in times) for at in times)


def starts(rounds, wants, *, process="one", running=None):
    """Ask for permits until `rounds` are over; return the starts by destination, in seconds."""
    found: dict[str, list[float]] = {}
    began = time.monotonic()
    while time.monotonic() - began < rounds:
        granted, _ = permits.take(TRIPS, wants, running or {}, process=process)
        for permit in granted:
            if (at := max(time.monotonic(), permit.starts_at)) < permit.starts_at + permits.LATE:
                found.setdefault(permit.lane.destination, []).append(at)
    return found


class TestKeys:
    def test_a_call_has_the_keys_of_its_step_and_of_each_part_of_its_destination(self):
        assert keys_of(PAY, "bank/m7/eur") == (PAY, "bank", "bank/m7", "bank/m7/eur")

    def test_an_operators_limit_replaces_the_default_and_a_pattern_stands_for_the_keys_below(self):
        limits = Limits({"bank": Limit(), "bank/*": Limit(per_second=10)})

        def default(key):
            return Limit(per_second=100)

        assert not limits.of("bank", default)
        assert limits.of("bank/m7", default) == Limit(per_second=10)
        assert limits.of("shop", default) == Limit(per_second=100)
        assert not limits.of("shop", lambda _: None)


class TestPermits:
    def test_no_second_has_more_starts_than_the_limit_over_many_processes(self):
        limit("bank", per_second=20)
        wants = [Want(lane(), 50)]
        found = at_once(
            [partial(starts, 2.5, wants, process=process) for process in ("one", "two", "three")]
        )
        times = [at for each in found for at in each.get("bank", [])]
        assert 1 < len(times) <= 50  # a slow machine asks less often
        assert most_in_a_second(times) <= 20

    def test_a_key_at_its_limit_holds_up_no_other_key(self):
        limit("bank", per_second=100)
        limit("bank/*", per_second=10)
        wants = [Want(lane("bank/m1"), 1_000), Want(lane("bank/m2"), 1_000)]
        found = starts(1.5, wants)
        assert {name: len(times) for name, times in found.items()}.keys() == {"bank/m1", "bank/m2"}
        assert all(1 < len(times) <= 16 for times in found.values())

    def test_all_keys_share_the_limit_of_their_parent(self):
        limit("bank", per_second=20)
        wants = [Want(lane(f"bank/m{number}"), 1_000) for number in range(4)]
        found = starts(1.5, wants)
        times = [at for each in found.values() for at in each]
        assert most_in_a_second(times) <= 20
        assert max(map(len, found.values())) - min(map(len, found.values())) <= 1

    def test_calls_at_once_count_over_all_processes(self):
        limit("bank", at_once=3)
        first, _ = permits.take(TRIPS, [Want(lane(), 2)], {"bank": 0}, process="one")
        second, _ = permits.take(TRIPS, [Want(lane(), 5)], {"bank": 0}, process="two")
        assert (len(first), len(second)) == (2, 1)
        permits.take(TRIPS, [], {"bank": 1}, process="one")
        third, _ = permits.take(TRIPS, [Want(lane(), 5)], {"bank": 1}, process="two")
        assert len(third) == 1

    def test_a_report_of_running_calls_leaves_the_time_of_the_next_start(self):
        limit("bank", per_second=1, at_once=5)
        first, _ = permits.take(TRIPS, [Want(lane(), 1)], {}, process="one")
        before = CallLimit.objects.get(key="bank").next_at
        permits.take(TRIPS, [], {"bank": 1}, process="one")
        assert CallLimit.objects.get(key="bank").next_at == before
        second, _ = permits.take(TRIPS, [Want(lane(), 1)], {"bank": 1}, process="one")
        assert (len(first), len(second)) == (1, 0)

    def test_a_slow_answer_costs_only_the_permits_that_need_an_exact_time(self, monkeypatch):
        monkeypatch.setattr(permits, "LATE", -1.0)
        limit("bank", at_once=2)
        limit("shop", per_second=100)
        granted, _ = permits.take(
            TRIPS, [Want(lane(), 2), Want(lane("shop"), 2)], {}, process="one"
        )
        assert [permit.lane.destination for permit in granted] == ["bank", "bank"]

    def test_the_calls_of_a_lost_process_stop_counting(self, monkeypatch):
        limit("bank", at_once=1)
        monkeypatch.setattr(permits, "EXPIRES", 0.2)
        permits.take(TRIPS, [Want(lane(), 1)], {}, process="lost")
        until(
            lambda: permits.take(TRIPS, [Want(lane(), 1)], {}, process="one")[0],
            "another process gets the permit",
        )

    def test_a_clock_that_was_set_back_stops_no_key(self):
        limit("bank", per_second=100)
        permits.take(TRIPS, [Want(lane(), 1)], {}, process="one")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE trips_calllimit SET next_at = now() + interval '1 hour'")
        permits.take(TRIPS, [Want(lane(), 1)], {}, process="one")
        until(
            lambda: permits.take(TRIPS, [Want(lane(), 1)], {}, process="one")[0],
            "the key goes on",
            limit=2,
        )

    def test_a_reached_limit_is_listed(self):
        limit("bank", per_second=1)
        permits.take(TRIPS, [Want(lane(), 5)], {}, process="one")
        (listed,) = call_limits.listed(TRIPS)
        assert (listed.key, listed.per_second, listed.by, listed.is_reached) == (
            "bank",
            1,
            "olga",
            True,
        )
        assert call_limits.remove(TRIPS, "bank")
        assert not call_limits.remove(TRIPS, "bank")

    def test_keys_that_no_call_uses_any_more_are_deleted(self):
        limit("bank", per_second=1)
        permits.take(TRIPS, [Want(lane("bank/m1"), 1)], {}, process="one")
        CallLimit.objects.update(used_at="2020-01-01T00:00:00Z")
        call_limits.purge(TRIPS)
        assert list(CallLimit.objects.values_list("key", flat=True)) == ["bank"]


class TestCalls:
    @pytest.fixture(autouse=True)
    def _flying(self, flying):
        pass

    def served(self, bank, count, **answers):
        trips = booked(count)
        bank.serve(*trips)
        bank.answer(*trips)
        return trips

    def test_without_a_limit_no_statement_looks_for_one(self, bank):
        trips = self.served(bank, 3)
        with statements() as ran:
            deliver(PAY, trips)
        assert in_flight.drain(LIMIT)
        assert not CallLimit.objects.exists()
        assert len([each for each in ran if "trips_calllimit" in each]) == 1  # a part of the claim
        assert "call-pacer" not in {thread.name for thread in threading.enumerate()}

    def test_over_the_limit_messages_wait_as_rows_without_an_attempt(self, bank):
        limit("bank", per_second=2)
        trips = self.served(bank, 10)
        deliver(PAY, trips)
        waiting = Inbox.objects.filter(step=PAY, state="waiting")
        assert waiting.count() == 8
        assert set(waiting.values_list("attempts", "losses", "excused", "error")) == {(0, 0, 0, "")}
        assert set(waiting.values_list("message__message__destination", flat=True)) == {"bank"}
        assert in_flight.drain(LIMIT)
        assert Inbox.objects.filter(step=PAY, state="done").count() == 2

    def test_a_postponed_message_is_not_claimed_while_its_key_has_no_room(self, bank):
        limit("bank", at_once=1)
        first, second, third = booked(3)
        bank.serve(first, second, third)
        deliver(PAY, [first])
        bank.await_calls(1)
        deliver(PAY, [second])  # waits in memory
        (stored,) = messages_to(PAY, [third])
        with statements() as ran:
            runner.run(PAY, PLAN, [structs.replace(stored, destination="bank")])
        assert (state(third, PAY), row(third, PAY).attempts) == ("waiting", 0)
        assert not any("pg_backend_pid" in each for each in ran)  # a claim names its session
        assert bank.asked == [first]

    def test_another_key_goes_on_while_one_is_at_its_limit(self, bank):
        limit("bank/m1", at_once=1)
        slow, other = Bank("bank/m1"), Bank("bank/m2")
        trips = booked(8)
        slow.serve(*trips[:4])
        other.serve(*trips[4:])
        other.answer_all()
        deliver(PAY, trips)
        until(lambda: all(state(trip, PAY) == "done" for trip in trips[4:]), "the others are paid")
        slow.await_calls(1)
        assert len(slow.asked) == 1
        slow.answer_all()

    def test_a_new_limit_holds_for_the_calls_that_wait(self, bank):
        limit("bank", per_second=1)
        trips = self.served(bank, 1)
        deliver(PAY, trips)
        assert in_flight.drain(LIMIT)
        limit("bank", per_second=50)
        more = self.served(bank, 20)
        deliver(PAY, more)
        assert in_flight.drain(5)
        assert Inbox.objects.filter(step=PAY, state="done").count() == 21

    def test_a_batch_of_duplicates_leaves_the_limit_and_starts_no_call(self, bank):
        limit("bank", at_once=1)
        trips = booked(2)
        bank.serve(*trips)
        deliver(PAY, trips)
        bank.await_calls(1)
        for _ in range(2):
            deliver(PAY, trips)  # the message of the first is a duplicate, and claims nothing
            deliver(PAY, trips[:1])
        executor = process._current().executor
        with executor.changed:
            assert executor.keys_at_once() == {("trips", "bank"): 1}
        assert bank.asked == trips[:1]

    def test_a_limit_that_is_set_while_all_slots_are_busy_holds_and_its_calls_go_on(
        self, bank, settings
    ):
        settings.SAGA_CALLS_AT_ONCE = 2
        trips = booked(4)
        bank.serve(*trips)
        deliver(PAY, trips[:2])
        bank.await_calls(2)
        deliver(PAY, trips[2:])  # all slots are busy
        limit("bank", per_second=50)
        deliver(PAY, booked(1))  # its claim reads the limit
        bank.answer_all()
        until(lambda: all(state(trip, PAY) == "done" for trip in trips), "the waiting calls end")

    def test_only_keys_of_running_calls_are_reported(self, bank):
        limit("bank/*", at_once=2)
        banks = [Bank(f"bank/m{number}") for number in range(3)]
        trips = booked(3)
        for each, trip in zip(banks, trips, strict=True):
            each.serve(trip)
            each.answer(trip)
        deliver(PAY, trips)
        assert in_flight.drain(LIMIT)
        executor = process._current().executor
        with executor.changed:
            assert executor.keys_at_once() == {}

    def test_a_service_whose_database_is_away_stops_no_other(self, bank, monkeypatch):
        limit("bank", per_second=50)
        real = permits.take
        asked: list[str] = []

        def take(service, wants, running, *, process):
            asked.append(service.name)
            if service.name == "payments":
                raise OperationalError("The server is away.")
            return real(service, wants, running, process=process)

        monkeypatch.setattr(permits, "take", take)
        executor = Executor()
        executor.note_limits(TRIPS, Limits({"bank": Limit(per_second=50)}))
        pacer = Pacer(executor)
        pacer._reported = {("payments", "stripe"): 1}
        assert pacer._take([Want(lane(), 1)], {}) == 0  # no call waits, but the permit was given
        assert sorted(asked) == ["payments", "trips"]
        asked.clear()
        pacer._take([Want(lane(), 1)], {})
        assert asked == ["trips"]  # the other is asked again after a pause

    def test_an_idle_thread_ends_and_the_next_call_gets_a_new_one(self, bank, monkeypatch):
        monkeypatch.setattr(executors, "IDLE_SECONDS", 0.01)
        for _ in range(2):
            self_served = self.served(bank, 1)
            deliver(PAY, self_served)
            assert in_flight.drain(LIMIT)
            until(lambda: not process._current().executor._threads["bank"], "the thread ends")
        assert len(bank.asked) == 2

    def test_a_limit_of_the_step_is_a_limit_of_its_calls_to_any_destination(self, bank):
        limit(PAY, at_once=2)
        banks = [Bank(f"bank{number}") for number in range(4)]
        trips = booked(4)
        for each, trip in zip(banks, trips, strict=True):
            each.serve(trip)
        deliver(PAY, trips)
        until(lambda: sum(len(each.asked) for each in banks) == 2, "two calls run")
        for each in banks:
            each.answer_all()
        assert in_flight.drain(LIMIT)
        assert {state(trip, PAY) for trip in trips} == {"done"}

    def test_a_default_limit_holds_until_an_operator_replaces_it(self, bank, monkeypatch):
        monkeypatch.setattr(
            Pay, "limit", lambda self, key: Limit(at_once=1) if key == "bank" else None
        )
        trips = booked(1)
        bank.serve(*trips)
        deliver(PAY, trips)
        bank.await_calls(1)
        second, third = booked(2)
        bank.serve(second, third)
        deliver(PAY, [second])
        limit("bank")
        deliver(PAY, [third])
        bank.await_calls(3)
        bank.answer_all()
        assert in_flight.drain(LIMIT)
