"""The evidence against a destination and against the whole step. No trip pays for the fault of an
outside system. A success at one destination proves nothing about another.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from sagas.definition.handlers import Waiting
from sagas.definition.hold_scope import HoldScope
from sagas.operations import holds
from sagas.storage import automatic_holds, faults
from tests.integration.sagas.in_flight import PAY
from tests.integration.sagas.test_blame import attempt_together, counted, pass_time, probe_round
from tests.integration.sagas.test_destination_holds import (
    ACME,
    BEST,
    answer,
    of,
    on_hold,
    pay,
    released,
    silence,
    silent,
    states,
)
from tests.trips.harness import TRIPS, deliver, make_due, state
from tests.trips.models import Hold, Inbox, StepFault
from tests.trips.steps import behaviour, destinations

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def accounts(count, name):
    """Return trips that each have a destination of their own."""
    return [trip for number in range(count) for trip in of(f"{name}/{number}")]


def evidence_of_step():
    """Return the evidence of the whole step about missing answers."""
    pattern = StepFault.objects.values_list("pattern", flat=True)[0]
    return faults.weigh(TRIPS, PAY, [(pattern, ACME)])[pattern, None]


class TestDestinationsOfOneTripEach:
    def test_trips_do_not_pay_while_half_of_all_destinations_are_silent(self):
        failing, fine = accounts(10, "bad"), accounts(10, "good")
        silence(failing)
        for bad, good in zip(failing, fine, strict=True):
            pay([bad])
            pay([good])
        pass_time(5)
        pay(failing)
        assert [counted(trip, PAY) for trip in failing][-5:] == [0] * 5

    def test_trips_do_not_pay_after_one_destination_has_released_the_step(self):
        trips = accounts(10, "bank")
        silence(trips)
        pay(trips)
        pass_time(5)
        pay(trips)
        assert on_hold() == [(PAY, "")]
        answer(trips[:1])
        for _ in range(len(trips)):
            if state(trips[0], PAY) != "done":
                probe_round()
        assert state(trips[0], PAY) == "done"
        released()
        make_due()
        for _ in range(2):
            pass_time(5)
            pay(trips[1:])
        assert [counted(trip, PAY) for trip in trips[1:]] == [0] * 9

    def test_a_failure_without_a_destination_is_no_second_destination(self):
        failing, without = of(ACME), of(None)
        silence([*failing, *without])
        pay([*failing, *without])
        found = evidence_of_step()
        assert (found.sagas, found.destinations, found.new_destinations) == (2, 1, 1)


class TestASuccess:
    def test_in_the_same_run_keeps_the_step_from_a_hold(self):
        failing, lone, fine = of(ACME, 9), of(BEST), of("charlie", 20)
        silence([*failing, *lone])
        attempt_together([*failing, *lone, *fine], PAY)
        assert states(fine) == ["done"] * 20
        assert on_hold() == []
        assert {counted(trip, PAY) for trip in [*failing, *lone]} == {0}

    def test_in_the_same_run_keeps_its_destination_from_a_hold(self):
        failing = of(ACME, 2)
        silence(failing)
        pay(failing)
        pass_time(5)
        attempt_together([*failing, *of(ACME, 5)], PAY)
        assert on_hold() == []

    def test_by_hand_proves_nothing(self):
        failing, (by_hand,) = of(ACME, 2), of(ACME)
        silence([*failing, by_hand])
        pay([*failing, by_hand])
        pass_time(5)
        Inbox.objects.filter(saga=by_hand, step=PAY).update(
            state="done", by_hand={"by": "olga"}, updated_at=timezone.now()
        )
        pay(failing)
        assert on_hold() == [(PAY, ACME)]

    def test_an_agreed_wait_is_one(self):
        failing, (asked,) = of(ACME, 2), of(ACME)
        silence([*failing, asked])
        pay([*failing, asked])
        pass_time(5)
        behaviour["trips.pay/call", asked] = lambda _: Waiting("the customer decides", pause=60)
        deliver(PAY, [asked], attempt=1)
        pay(failing)
        assert on_hold() == []


class TestTheRelease:
    @pytest.mark.parametrize("other", [BEST, None])
    def test_by_an_answer_from_elsewhere_leaves_the_evidence(self, other):
        first, second, third = silent(ACME, 3)
        destinations[first] = other
        answer([first])
        probe_round()
        assert released() == []
        make_due()
        for _ in range(3):
            pay([second, third])
            pass_time(5)
        assert on_hold() == [(PAY, ACME)]
        assert [counted(second, PAY), counted(third, PAY)] == [0, 0]

    def test_of_an_empty_destination_leaves_the_evidence(self):
        trips = silent(ACME)
        Inbox.objects.filter(saga__in=trips, step=PAY).update(destination=BEST)
        Hold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
        assert released() == []
        assert not StepFault.objects.filter(beside_success=True).exists()

    def test_of_the_step_leaves_the_evidence_of_a_silent_destination(self):
        silent(ACME)
        automatic_holds.place(TRIPS, HoldScope(PAY), why="It fails.")
        (other,) = of(BEST)
        deliver(PAY, [other])
        probe_round()
        assert state(other, PAY) == "done"
        assert released() == [(PAY, ACME)]
        assert not StepFault.objects.filter(destination=ACME, beside_success=True).exists()

    def test_of_the_step_by_an_answer_of_a_silent_destination_ages_its_evidence(self):
        trips = silent(ACME)
        automatic_holds.place(TRIPS, HoldScope(PAY), why="It fails.")
        answer(trips)
        probe_round()
        holds.release(TRIPS, step=PAY, destination=ACME)
        assert released() == []
        assert StepFault.objects.filter(destination=ACME, beside_success=True).count() == 2
