"""A text that cannot name a destination: the step fails before the call, and no trip pays."""

import pytest

from sagas.definition.hold_scope import MOST_CHARACTERS_OF_DESTINATION
from sagas.execution import in_flight
from tests.integration.sagas.in_flight import PAY, calls_fly
from tests.integration.sagas.test_blame import attempt_together, counted, pass_time
from tests.integration.sagas.test_destination_holds import (
    ACME,
    called,
    of,
    on_hold,
    pay,
    silence,
    states,
)
from tests.trips.harness import LIMIT, deliver, row
from tests.trips.models import StepFault

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

WRONG = ["", "a\0b", "acct_\ud800", " acme", "x" * (MOST_CHARACTERS_OF_DESTINATION + 1)]


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_destination_is_a_fault_of_the_step_and_no_call_is_made(name):
    (trip,) = of(name)
    pay([trip])
    assert called() == []
    assert states([trip]) == ["waiting"]
    assert counted(trip, PAY) == 0
    assert "WrongDestination" in row(trip, PAY).error
    (fault,) = StepFault.objects.all()
    assert (fault.blame, fault.destination) == ("step", "")


def test_the_others_of_its_batch_are_paid():
    wrong, others = of("a\0b"), of(ACME, 2)
    attempt_together([*wrong, *others], PAY)
    assert states(others) == ["done"] * 2
    assert states(wrong) == ["waiting"]
    assert sorted(called()) == sorted(others)


def test_no_call_with_a_wrong_destination_flies():
    wrong = of("acct_\ud800")
    with calls_fly():
        deliver(PAY, wrong)
        assert in_flight.drain(LIMIT)
    assert called() == []


def test_the_longest_destination_can_go_on_hold():
    name = "ß" * MOST_CHARACTERS_OF_DESTINATION
    trips = of(name, 2)
    silence(trips)
    pay(trips)
    pass_time(5)
    pay(trips)
    assert on_hold() == [(PAY, name)]
