"""A fault of one outside system stops only the calls to it. Trips of another one go on, and a hold
lets one trip at a time try.
"""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from sagas.celery import tasks
from sagas.definition.handlers import Unknown, Waiting
from sagas.definition.hold_scope import HoldScope
from sagas.execution import in_flight
from sagas.ids import uuid7
from sagas.operations import holds, probing, redrive
from sagas.storage import automatic_holds, destination_holds, hold_probes, inbox
from sagas.storage.destination_holds import MOST_LISTED
from tests.broker import empty, take
from tests.integration.counts.order_steps import statements
from tests.integration.sagas.in_flight import PAY, Bank, booked, calls_fly
from tests.integration.sagas.test_blame import (
    attempt,
    attempt_together,
    counted,
    explode,
    pass_time,
    probe_round,
)
from tests.trips.harness import (
    HOME,
    LIMIT,
    PLAN,
    TRIPS,
    deliver,
    events,
    make_due,
    messages_to,
    row,
    state,
)
from tests.trips.models import Hold, Inbox, StepFault, Trip
from tests.trips.steps import behaviour, calls, destinations

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

ACME, BEST = "acme", "best"


def of(destination, count=1):
    """Return trips that are to be paid at a destination."""
    trips = booked(count)
    destinations.update(dict.fromkeys(trips, destination))
    return trips


def silence(trips):
    for trip in trips:
        behaviour["trips.pay/call", trip] = lambda _: Unknown("no answer")


def answer(trips):
    for trip in trips:
        behaviour.pop(("trips.pay/call", trip), None)


def pay(trips):
    attempt(trips, PAY)


def states(trips):
    return [state(trip, PAY) for trip in trips]


def on_hold():
    return automatic_holds.in_force(TRIPS)


def called():
    """Return the trips whose payment was asked for, in order."""
    return [trip for step, trips in calls if step == "trips.pay/call" for trip in trips]


def silent(destination, count=2):
    """Return trips of a destination that gives no answer, and so is on hold."""
    trips = of(destination, count)
    silence(trips)
    pay(trips)
    pass_time(5)
    pay(trips)
    assert HoldScope(PAY, destination) in on_hold()
    calls.clear()
    empty()
    return trips


def released():
    """Run a round that releases what a probe has proven, and resumes what waited."""
    probing.run_once(TRIPS)
    holds.resume(TRIPS)
    return on_hold()


class TestTheFault:
    def test_the_calls_to_a_silent_destination_wait_and_those_to_another_go_on(self):
        waiting = silent(ACME)
        assert on_hold() == [(PAY, ACME)]
        others = of(BEST, 3)
        pay(others)
        assert states(others) == ["done"] * 3
        assert states(waiting) == ["held"] * 2
        assert [counted(trip, PAY) for trip in waiting] == [0, 0]

    def test_a_destination_goes_on_hold_while_another_one_succeeds(self):
        failing, others = of(ACME, 2), of(BEST, 2)
        silence(failing)
        pay([failing[0], others[0], failing[1]])
        pass_time(5)
        pay([others[1]])
        pay(failing)
        assert on_hold() == [(PAY, ACME)]
        assert states(failing) == ["held"] * 2

    def test_one_batch_is_judged_destination_by_destination(self):
        failing, others = of(ACME, 10), of(BEST, 3)
        silence([*failing, others[0]])
        attempt_together([*failing, *others], PAY)
        assert on_hold() == [(PAY, ACME)]
        assert states(failing) == ["held"] * 10
        assert states(others) == ["waiting", "done", "done"]
        assert counted(others[0], PAY) == 1

    def test_two_destinations_go_on_hold_one_by_one(self):
        silent(ACME)
        silent(BEST)
        assert on_hold() == [(PAY, ACME), (PAY, BEST)]

    def test_the_holds_of_one_batch_are_placed_in_the_order_of_their_names(self):
        best, acme = of(BEST, 10), of(ACME, 10)
        silence([*best, *acme])
        attempt_together([*best, *acme], PAY)
        placed = Hold.objects.order_by("id").values_list("destination", flat=True)
        assert list(placed) == [ACME, BEST]

    def test_trips_that_fail_at_many_destinations_put_the_whole_step_on_hold(self):
        trips = [trip for number in range(3) for trip in of(f"bank/{number}")]
        silence(trips)
        pay(trips)
        assert counted(trips[1], PAY) == 0
        pass_time(5)
        pay(trips)
        assert on_hold() == [(PAY, "")]

    def test_one_trip_that_fails_at_two_destinations_is_one_piece_of_evidence(self):
        (trip,) = of(ACME)
        silence([trip])
        pay([trip])
        destinations[trip] = BEST
        pay([trip])
        pass_time(5)
        pay([trip])
        assert on_hold() == []
        assert counted(trip, PAY) == 3

    def test_a_destination_on_hold_is_no_evidence_against_the_step(self):
        silent(ACME)
        (lone,) = of(BEST)
        silence([lone])
        for _ in range(2):
            pay([lone])
            pass_time(5)
        assert on_hold() == [(PAY, ACME)]
        assert counted(lone, PAY) == 2

    def test_another_fault_than_a_missing_answer_is_of_the_whole_step(self):
        trips = of(ACME, 2)
        for trip in trips:
            behaviour[PAY, trip] = explode
        pay(trips)
        pass_time(5)
        make_due()
        pay(trips)
        assert on_hold() == [(PAY, "")]

    def test_a_request_without_a_destination_is_judged_for_the_whole_step(self):
        trips = booked(2)
        silence(trips)
        pay(trips)
        pass_time(5)
        pay(trips)
        assert on_hold() == [(PAY, "")]


class TestTheHold:
    def test_a_new_trip_waits_before_it_calls_and_tells_its_home(self):
        silent(ACME)
        (trip,) = of(ACME)
        deliver(PAY, [trip])
        found = row(trip, PAY)
        assert (found.state, found.attempts, found.send_at) == ("held", 0, None)
        assert (found.destination, found.claim) == (ACME, None)
        assert found.message["message"]["saga"] == str(trip)
        assert called() == []
        assert events(trip)[-1] == "saga.on_hold"

    def test_the_others_of_a_batch_call(self):
        silent(ACME)
        stopped, others = of(ACME, 2), of(BEST, 2)
        deliver(PAY, [stopped[0], *others, stopped[1]])
        assert states(stopped) == ["held"] * 2
        assert states(others) == ["done"] * 2
        assert sorted(called()) == sorted(others)

    def test_calls_in_flight_wait_too(self):
        silent(ACME)
        stopped, others = of(ACME, 2), of(BEST, 2)
        with calls_fly():
            deliver(PAY, [*stopped, *others])
            assert in_flight.drain(LIMIT)
        assert states(stopped) == ["held"] * 2
        assert states(others) == ["done"] * 2

    def test_repeated_deliveries_change_nothing(self):
        silent(ACME)
        (trip,) = of(ACME)
        for _ in range(3):
            deliver(PAY, [trip])
        assert events(trip).count("saga.on_hold") == 1
        assert row(trip, PAY).attempts == 0

    def test_a_trip_whose_gateway_was_exchanged_calls_the_new_one(self):
        (trip,) = silent(ACME, 2)[:1]
        destinations[trip] = BEST
        answer([trip])
        deliver(PAY, [trip])
        assert state(trip, PAY) == "done"

    def test_a_lost_run_of_a_trip_that_is_held_counts_as_a_loss(self):
        (trip,) = of(ACME)
        behaviour["trips.pay/call", trip] = lambda _: (_ for _ in ()).throw(SystemExit)
        with pytest.raises(SystemExit):
            deliver(PAY, [trip])
        assert state(trip, PAY) == "started"
        silent(ACME)
        make_due()
        deliver(PAY, [trip])
        found = row(trip, PAY)
        assert (found.state, found.losses, found.claim) == ("held", 1, None)

    def test_holding_costs_as_many_statements_for_any_batch(self):
        silent(ACME)
        counts = []
        for size in (1, 50):
            trips = of(ACME, size)
            with statements() as done:
                deliver(PAY, trips)
            counts.append(len(done))
        assert counts[0] == counts[1]

    def test_a_claim_that_holds_of_other_destinations_do_not_stop_costs_no_statement(self):
        trips = of(BEST, 2)
        with statements() as before:
            deliver(PAY, trips[:1])
        holds.hold(TRIPS, step=PAY, destination=ACME, by="olga", why="It is down.")
        with statements() as after:
            deliver(PAY, trips[1:])
        assert len(before) == len(after)

    def hold_many(self, count):
        scopes = [{"calling_step": PAY, "destination": f"shop/{number}"} for number in range(count)]
        many = [Hold(**scope, by="olga", why="It is down.") for scope in scopes]
        Hold.objects.bulk_create(many, ignore_conflicts=True)

    def statements_to_pay(self):
        (trip,) = of(BEST)
        with statements() as done:
            deliver(PAY, [trip])
        assert state(trip, PAY) == "done"
        return len(done)

    def test_any_number_of_destinations_on_hold_costs_one_statement(self):
        without = self.statements_to_pay()
        self.hold_many(MOST_LISTED)
        assert self.statements_to_pay() == without
        self.hold_many(MOST_LISTED + 1)
        assert self.statements_to_pay() == without + 1
        self.hold_many(1_000)
        assert self.statements_to_pay() == without + 1

    def test_only_the_holds_of_a_batch_are_read_if_many_are_on_hold(self):
        self.hold_many(1_000)
        (trip,) = of(BEST)
        with transaction.atomic():
            claims = inbox.claim(TRIPS, PAY, PLAN, messages_to(PAY, [trip]), final=False)
        assert claims.destination_holds == ({}, False)
        found = destination_holds.among(TRIPS, PAY, {trip: "shop/7", uuid7(): BEST, uuid7(): None})
        assert found == ({"shop/7": []}, True)

    def test_a_trip_waits_and_a_probe_passes_among_many_destinations_on_hold(self):
        trips = silent(ACME, 2)
        self.hold_many(1_000)
        stopped, other = of("shop/7"), of(BEST)
        deliver(PAY, [*stopped, *other])
        assert (states(stopped), states(other)) == (["held"], ["done"])
        calls.clear()
        probe_round()
        assert called() == trips[:1]
        assert states([*trips, *stopped]) == ["held"] * 3

    def test_a_probe_moves_among_many_destinations_on_hold(self):
        first, _ = silent(ACME)
        self.hold_many(1_000)
        destinations[first] = "shop/7"
        probe_round()
        assert (state(first, PAY), row(first, PAY).destination) == ("held", "shop/7")
        assert Hold.objects.get(destination=ACME).probed_at is None


class TestProbes:
    def test_one_trip_at_a_time_tries_and_they_take_turns(self):
        trips = silent(ACME, 3)
        for _ in range(4):
            probe_round()
        first, second, third = sorted(trips)
        assert called() == [first, second, third, first]
        assert states(trips) == ["held"] * 3

    def test_the_first_answer_releases_the_hold_and_the_others_go_on(self):
        trips = silent(ACME, 3)
        answer(trips)
        probe_round()
        assert called() == trips[:1]
        assert released() == []
        assert sorted(states(trips)) == ["done", "waiting", "waiting"]

    def test_an_agreed_wait_releases_the_hold(self):
        (trip, _) = silent(ACME)
        behaviour["trips.pay/call", trip] = lambda _: Waiting("the customer decides", pause=60)
        probe_round()
        assert released() == []

    def test_two_holds_probe_their_own_trips_and_are_released_one_by_one(self):
        acme, best = silent(ACME), silent(BEST)
        answer(best)
        probe_round()
        assert sorted(called()) == sorted([acme[0], best[0]])
        assert released() == [(PAY, ACME)]
        assert states(acme) == ["held"] * 2
        assert row(best[1], PAY).state == "waiting"

    def test_no_second_probe_while_the_first_one_calls(self):
        silent(ACME)
        Hold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
        assert len(hold_probes.send_probes(TRIPS)) == 1
        Hold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
        assert hold_probes.send_probes(TRIPS) == {}

    def test_a_hold_without_waiting_trips_is_released(self):
        trips = silent(ACME)
        Inbox.objects.filter(saga__in=trips, step=PAY).update(destination=BEST)
        Hold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
        assert released() == []

    def test_a_probe_whose_gateway_was_exchanged_releases_the_hold_it_tries(self):
        first, _ = silent(ACME)
        destinations[first] = BEST
        answer([first])
        probe_round()
        assert released() == []

    def test_a_probe_that_moves_to_another_destination_on_hold_waits_there(self):
        first, second = silent(ACME)
        silent(BEST)
        destinations[first] = BEST
        calls.clear()
        probe_round()
        assert first not in called()
        assert row(first, PAY).destination == BEST
        probe_round()
        assert second in called()

    def test_a_probe_that_fails_otherwise_waits_at_the_hold_again(self):
        first, _ = silent(ACME)
        answer([first])
        behaviour[PAY, first] = explode
        probe_round()
        assert (state(first, PAY), row(first, PAY).destination) == ("held", ACME)
        assert on_hold() == [(PAY, ACME)]

    def test_a_success_is_no_sign_for_the_evidence_of_another_destination(self):
        failing = of(BEST)
        silence(failing)
        pay(failing)
        answer(silent(ACME))
        probe_round()
        assert released() == []
        assert not StepFault.objects.get(destination=BEST).beside_success
        assert StepFault.objects.filter(destination=ACME, beside_success=True).count() == 2


class TestBesideAHoldOfTheStep:
    def place_on_step(self):
        automatic_holds.place(TRIPS, HoldScope(PAY), why="It fails.")
        Hold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))

    def test_only_the_step_is_probed_and_its_probe_passes_the_destination(self):
        trips = silent(ACME)
        self.place_on_step()
        answer(trips)
        probe_round()
        assert called() == trips[:1]
        assert released() == [(PAY, ACME)]
        assert state(trips[0], PAY) == "done"

    def test_the_step_is_not_probed_while_a_probe_of_a_destination_calls(self):
        silent(ACME)
        Hold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
        assert list(hold_probes.send_probes(TRIPS)) == [(PAY, ACME)]
        self.place_on_step()
        assert hold_probes.send_probes(TRIPS) == {}

    def test_an_operators_hold_of_the_destination_stops_the_probe_of_the_step(self):
        trips = silent(ACME)
        holds.hold(TRIPS, step=PAY, destination=ACME, by="olga", why="It is down.")
        self.place_on_step()
        (other,) = of(BEST)
        deliver(PAY, [other])
        probe_round()
        assert called() == [other]
        assert states(trips) == ["held"] * 2

    def test_an_operators_hold_of_the_step_stops_the_probes_of_a_destination(self):
        silent(ACME)
        holds.hold(TRIPS, step=PAY, by="olga", why="Nothing may be paid.")
        probe_round()
        assert called() == []

    def test_a_release_of_the_step_leaves_the_destination_on_hold(self):
        trips = silent(ACME)
        holds.hold(TRIPS, step=PAY, by="olga", why="Nothing may be paid.")
        assert holds.release(TRIPS, step=PAY)
        assert holds.resume(TRIPS) == 0
        assert holds.release(TRIPS, step=PAY, destination=ACME)
        assert holds.resume(TRIPS) == len(trips)


class TestAnOperator:
    def test_an_operator_takes_over_an_automatic_hold(self):
        trips = silent(ACME)
        answer(trips)
        assert holds.hold(TRIPS, step=PAY, destination=ACME, by="olga", why="It moves house.")
        assert not holds.hold(TRIPS, step=PAY, destination=ACME, by="anna", why="Me too.")
        probe_round()
        assert called() == []
        assert released() == []
        assert states(trips) == ["held"] * 2

    def test_a_destination_can_be_held_before_it_fails(self):
        holds.hold(TRIPS, step=PAY, destination=ACME, by="olga", why="It moves house.")
        (stopped,), (other,) = of(ACME), of(BEST)
        deliver(PAY, [stopped, other])
        assert (state(stopped, PAY), state(other, PAY)) == ("held", "done")
        assert not holds.release(TRIPS, step=PAY)
        assert holds.release(TRIPS, step=PAY, destination=ACME)
        assert holds.resume(TRIPS) == 1


class TestBesideTheReleaseBefore:
    """Its processes know neither the column of the calling step nor that of the destination."""

    def test_its_hold_of_the_whole_step_is_written_beside_that_of_a_destination(self):
        silent(ACME)
        statement = """INSERT INTO trips_hold AS h (step, since, by, why)
            VALUES ('trips.pay', now(), 'olga', 'It is down.')
            ON CONFLICT (step) DO UPDATE SET by = EXCLUDED.by WHERE h.automatic"""
        with connection.cursor() as cursor:
            cursor.execute(statement)
            cursor.execute(statement)
        assert Hold.objects.count() == 2

    def test_a_hold_that_its_beat_has_removed_is_placed_again_by_the_next_failure(self):
        first, second = silent(ACME)
        Hold.objects.all().delete()
        holds.resume(TRIPS)
        pay([first])
        assert on_hold() == [(PAY, ACME)]
        assert [counted(trip, PAY) for trip in (first, second)] == [0, 0]

    def test_a_success_without_a_destination_is_none_of_a_destination(self):
        trips = of(ACME, 2)
        silence(trips)
        pay(trips)
        (other,) = booked()
        pay([other])
        pass_time(5)
        pay(trips)
        assert on_hold() == [(PAY, ACME)]


class TestTheHome:
    def test_a_trip_that_waits_has_not_stalled_and_a_trip_of_another_destination_has(self):
        silent(ACME)
        (waiting,), (other,) = of(ACME), of(BEST)
        deliver(PAY, [waiting])
        tasks.flush("trips")
        while sent := take("trips"):
            for message in sent:
                if message.task == "sagas.record":
                    tasks.record(*message.args)
        assert Trip.objects.get(id=waiting).on_hold == PAY
        Trip.objects.exclude(id__in=[waiting, other]).update(ended_at=timezone.now())
        Trip.objects.update(rescue_at="2020-01-01T00:00:00Z")
        assert redrive.run_once(HOME) == 1
        assert not Trip.objects.get(id=waiting).redrives
        assert Trip.objects.get(id=other).redrives == 1


def test_a_bank_that_hangs_in_flight_goes_on_hold_and_the_other_bank_pays():
    hanging, other = Bank(ACME), Bank(BEST)
    slow, quick = of(ACME, 10), of(BEST, 3)
    hanging.serve(*slow)
    other.serve(*quick)
    other.answer_all()
    hanging.answer(*slow, outcome=Unknown("timeout"))
    with calls_fly():
        deliver(PAY, [*slow, *quick])
        assert in_flight.drain(LIMIT)
    assert states(quick) == ["done"] * 3
    assert states(slow) == ["held"] * 10
    assert on_hold() == [(PAY, ACME)]
