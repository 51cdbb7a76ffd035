"""The soak's people and banks act as their seed says, and the soak compares the money."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from tools.chaos.checks import money_violations
from tools.chaos.order_reader import OrderRow
from tools.chaos.provider_faults import OF_INTENTS, OF_REFUNDS
from tools.chaos.provider_movements import CAPTURE, DISPUTE, REFUND, RETURN, draw_act
from tools.local.provider_ledger import LedgerEntry, money_left
from tools.stripe_sandbox.fault_rules import Fault


def acts(kind, *, seed, movements=500):
    drawn = [draw_act(kind, number, seed=seed) for number in range(1, movements + 1)]
    return [act for act in drawn if act]


@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_one_seed_means_the_same_acts_each_time(kind):
    assert acts(kind, seed=7) == acts(kind, seed=7)
    assert acts(kind, seed=7) != acts(kind, seed=8)


def test_a_small_share_of_the_movements_has_an_act_of_each_kind():
    kinds = Counter(act.kind for act in acts("capture", seed=1))
    assert kinds.keys() == {REFUND, DISPUTE}
    assert 20 < kinds.total() < 120
    assert {act.kind for act in acts("refund", seed=1)} == {RETURN}
    assert {act.kind for act in acts("authorization", seed=1)} == {CAPTURE}
    assert {act.verdict for act in acts("capture", seed=1)} == {"won", "lost"}
    assert acts("dispute", seed=1) == []


def test_the_sandbox_knows_the_errors_that_are_kept_for_a_key():
    assert OF_INTENTS.keys() | OF_REFUNDS.keys() <= set(Fault)


def entry(kind, amount, *, order="first", failed=False):
    return LedgerEntry(kind, "id", "charge", amount, order, failed, True)


def test_refunds_and_disputes_reduce_the_money_that_is_left():
    entries = [
        entry("capture", 1_000),
        entry("refund", 100),
        entry("refund", 300, failed=True),
        entry("dispute", 200),
        entry("dispute_return", 200),
        entry("capture", 50, order="second"),
        entry("dispute", 50, order="second"),
    ]
    assert money_left(entries) == {"first": 900, "second": 0}


def row(status="fulfilled", *, ended=True):
    failure = "cancelled_by_customer" if status == "cancelled" else ""
    at = datetime(2026, 1, 1, tzinfo=UTC) if ended else None
    return OrderRow("first", "key", status, failure, at, amount=1_000)


@pytest.mark.parametrize(
    ("order", "left", "taken"),
    [
        (row(), 1_000, 0),
        (row(), 700, 300),
        (row("cancelled"), 0, 0),
        (row("cancelled"), 0, 300),
        (row("cancelling", ended=False), 400, 0),
    ],
)
def test_the_right_amount_is_no_violation(order, left, taken):
    amounts = {"first": left}
    assert money_violations([order], left=amounts, taken={"first": taken}, in_books=amounts) == []


@pytest.mark.parametrize(
    ("order", "left", "expected"),
    [(row(), 2_000, 700), (row(), 1_000, 700), (row(), 0, 700), (row("cancelled"), 400, 0)],
)
def test_a_wrong_amount_is_a_violation(order, left, expected):
    amounts = {"first": left}
    (found,) = money_violations([order], left=amounts, taken={"first": 300}, in_books=amounts)
    assert found.endswith(f"{left} is left of it at the provider instead of {expected}")


@pytest.mark.parametrize(("taken", "returned", "left"), [(0, 400, 600), (300, 900, 0)])
def test_a_return_gives_back_at_most_the_money_that_is_left(taken, returned, left):
    amounts, given = {"first": left}, {"first": returned}
    taken_from = {"first": taken}
    found = money_violations(
        [row()], left=amounts, taken=taken_from, in_books=amounts, returned=given
    )
    assert found == []


def test_money_of_an_order_that_does_not_exist_is_a_violation():
    amounts = {"lost": 500, "voided": 0}
    assert money_violations([], left=amounts, taken={}, in_books=amounts) == [
        "The provider has captured 500 for order lost, which does not exist"
    ]


def test_an_amount_that_payments_does_not_know_is_a_violation():
    found = money_violations(
        [row()], left={"first": 700}, taken={"first": 300}, in_books={"first": 1_000}
    )
    assert found == ["Payments has 1000 of order first, and the provider has 700"]
