"""A saga with parallel groups survives the kill of a worker at every point of branch and join."""

import pytest
from django.test import override_settings

import sagas
from sagas.failpoints import Action, Fault, Point
from sagas.testing import crashes
from sagas.testing.crash_points import Crash
from sagas.testing.record import End
from tests.gifts.harness import facts, gift
from tests.gifts.steps import GiftChosen, register
from tests.trips.models import Cruise

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(300),
]

__all__ = ["gift"]

BRANCHES = ("inventory.wrap", "payments.engrave")
AROUND = (*BRANCHES, "trips.send", "inventory.count", "trips.archive")
UNDOS = ("payments.unengrave", "inventory.unwrap")

# A branch refuses, and a worker dies at the refusing step, at the other branch, or at an undo.
REFUSED = [
    Crash("gift", Fault(point, step, Action.KILL), End.CANCELLED, refusing)
    for refusing, step, point in [
        ("payments.engrave", "payments.engrave", Point.COMMITTED),
        ("payments.engrave", "inventory.wrap", Point.NOT_BEGUN),
        ("payments.engrave", "payments.unengrave", Point.COMMITTED),
        ("inventory.wrap", "payments.engrave", Point.TAKEN),
        ("inventory.wrap", "payments.unengrave", Point.NOT_BEGUN),
        ("inventory.wrap", "inventory.unwrap", Point.PASSED_ON),
    ]
]


def all_crashes():
    """Return the crashes at the groups, on the way to the end and back. They need the steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sagas.definition.handlers, "_definitions", {})
        patch.setattr(sagas.Saga, "declared", {})
        found = crashes(register())
    chosen = [
        each for each in found if each.fault.step in (AROUND if each.end is End.DONE else UNDOS)
    ]
    return [*chosen, *REFUSED]


@pytest.fixture(scope="module", autouse=True)
def _workers_know_the_gift():
    with override_settings(SETTINGS_MODULE="tests.gifts.worker_settings"):
        yield


@pytest.mark.parametrize("crash", all_crashes(), ids=lambda crash: f"{crash.refusing}-{crash}")
def test_a_gift_survives(gift, saga_workers, crash):
    chosen = saga_workers.survive(crash, lambda: sagas.start(gift, Cruise(), GiftChosen()))

    sent = [each for each in facts(chosen, "trips.send") if "paper" in each]
    expected = [{"paper": "paper for Ada", "text": "For Ada"}] if crash.end is End.DONE else []
    assert sent == expected
