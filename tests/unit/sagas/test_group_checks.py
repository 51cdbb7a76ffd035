"""The checks of parallel groups name the fault, and how to correct it."""

from typing import Any

import pytest

from sagas.checks.plans import check_saga
from sagas.definition.plan import Parallel, Saga, Step
from tests.gifts.harness import gift

__all__ = ["gift"]

PICK = Step("trips.pick", undo="trips.unpick")
WRAP = Step("inventory.wrap", undo="inventory.unwrap")
ENGRAVE = Step("payments.engrave", undo="payments.unengrave")
SEND = Step("trips.send", pivot=True)
NESTED: Any = Parallel(ENGRAVE, WRAP)
LAST = (Step("inventory.count"), Step("payments.rate"))


def found(*steps):
    """Return the ids of the faults of a saga with these steps; each has a hint."""
    messages = check_saga(Saga("checked", *steps, abort="trips.discard"))
    assert all(message.hint for message in messages)
    return [message.id for message in messages]


@pytest.fixture(autouse=True)
def _declares(gift, monkeypatch):
    monkeypatch.setattr(Saga._registrations, "_origins", {})


@pytest.mark.parametrize(
    "steps",
    [
        (PICK, Parallel(WRAP, ENGRAVE), SEND),
        (Parallel(WRAP, ENGRAVE), SEND),
        (PICK, SEND, Parallel(*LAST), Step("trips.archive")),
    ],
)
def test_a_group_may_come_first_or_before_or_after_the_pivot(steps):
    assert found(*steps) == []


@pytest.mark.parametrize(
    ("steps", "check"),
    [
        ((PICK, Parallel(SEND, WRAP), Step("trips.archive")), "sagas.E105"),
        ((Parallel(PICK, Step("trips.archive", undo="trips.a")), WRAP, SEND), "sagas.E106"),
        ((PICK, Parallel(WRAP, NESTED), SEND), "sagas.E107"),
        ((PICK, SEND, Parallel(*LAST)), "sagas.E108"),
        ((Parallel(WRAP, ENGRAVE), Parallel(PICK, *LAST[:1]), SEND), "sagas.E108"),
        ((PICK, Parallel(WRAP), SEND), "sagas.E109"),
    ],
)
def test_a_group_that_cannot_work_is_refused(steps, check):
    assert check in found(*steps)


def test_a_condition_may_not_take_the_step_behind_a_group_away():
    assert "sagas.E108" in found(
        PICK, SEND, Parallel(*LAST), Step("trips.archive", when=lambda _: False)
    )


def test_a_group_of_which_a_condition_leaves_one_branch_is_sound(gift):
    assert check_saga(gift) == []
