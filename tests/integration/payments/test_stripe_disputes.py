"""A dispute of a Stripe charge delays its refund, counts as given back if lost, and is reported."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from payments.gateways import get_gateway
from payments.gateways.base import (
    Captured,
    ChargeBalance,
    ChargeRequest,
    DisputeStatus,
    Movement,
    Pending,
    RefundAnswer,
    Refunded,
    RefundRequest,
)
from sagas.ids import uuid7
from tests.integration.payments.stripe_harness import moved_money
from tests.processes import until
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


class Charged:
    """A captured charge of 12.50 euros."""

    def __init__(self, method: str = "pm_card_visa") -> None:
        order = uuid7()
        self.request = ChargeRequest(f"charge-{order}", order, 1250, "eur", method)
        (captured,) = get_gateway().charge([self.request])
        assert isinstance(captured, Captured)
        self.id = captured.charge_id

    def refund(self) -> RefundAnswer:
        request = RefundRequest(
            f"refund-{self.request.order_id}", self.request.order_id, self.id, 1250, "eur"
        )
        (answer,) = get_gateway().refund([request])
        return answer

    def balance(self) -> ChargeBalance:
        (answer,) = get_gateway().balance([self.request])
        assert isinstance(answer, ChargeBalance)
        return answer


def dispute(sandbox: Sandbox, charge: Charged, **fields: object) -> str:
    return str(sandbox.control("dashboard/disputes", charge=charge.id, **fields)["id"])


def proceed(sandbox: Sandbox, dispute: str, status: str) -> None:
    sandbox.control(f"dashboard/disputes/{dispute}", status=status)


def movements_of(charge: Charged) -> list[Movement]:
    now = datetime.now(UTC)
    lines = get_gateway().statement(now - timedelta(hours=1), now + timedelta(hours=1))
    return [line for line in lines if line.charge_id == charge.id]


def test_a_refund_waits_for_an_open_dispute(sandbox: Sandbox) -> None:
    charge = Charged()
    disputed = dispute(sandbox, charge)
    for status in ("needs_response", "under_review"):
        if status != "needs_response":
            proceed(sandbox, disputed, status)
        answer = charge.refund()
        assert isinstance(answer, Pending)
        assert disputed in answer.reason
        assert answer.expected_at is not None
        assert answer.expected_at > datetime.now(UTC) + timedelta(days=75)
    assert moved_money(sandbox, charge.request.order_id) == {"capture": 1250, "dispute": 1250}


def test_a_lost_dispute_counts_as_given_back(sandbox: Sandbox) -> None:
    charge = Charged()
    disputed = dispute(sandbox, charge)
    proceed(sandbox, disputed, "lost")
    for _ in range(2):
        assert charge.refund() == Refunded(disputed, amount=0, disputed=1250)
    assert moved_money(sandbox, charge.request.order_id) == {"capture": 1250, "dispute": 1250}


def test_the_refund_goes_on_after_a_won_dispute(sandbox: Sandbox) -> None:
    charge = Charged()
    disputed = dispute(sandbox, charge)
    assert isinstance(charge.refund(), Pending)
    proceed(sandbox, disputed, "won")
    for _ in range(2):
        answer = charge.refund()
        assert isinstance(answer, Refunded)
        assert (answer.amount, answer.disputed) == (1250, 0)
    assert moved_money(sandbox, charge.request.order_id) == {
        "capture": 1250,
        "dispute": 1250,
        "dispute_return": 1250,
        "refund": 1250,
    }


def test_the_rest_of_a_charge_is_refunded_after_a_part_was_lost(sandbox: Sandbox) -> None:
    charge = Charged()
    proceed(sandbox, dispute(sandbox, charge, amount=250), "lost")
    answer = charge.refund()
    assert isinstance(answer, Refunded)
    assert (answer.amount, answer.disputed) == (1000, 250)


def test_a_pending_refund_that_a_dispute_stops_is_not_repeated(sandbox: Sandbox) -> None:
    charge = Charged("pm_card_pendingRefund")
    assert isinstance(charge.refund(), Pending)
    disputed = dispute(sandbox, charge, amount=1250)
    answer = charge.refund()
    assert isinstance(answer, Pending)
    assert disputed in answer.reason
    proceed(sandbox, disputed, "lost")
    assert charge.refund() == Refunded(disputed, amount=0, disputed=1250)


def test_an_inquiry_withdraws_nothing_and_delays_no_refund(sandbox: Sandbox) -> None:
    charge = Charged()
    dispute(sandbox, charge, status="warning_needs_response")
    assert charge.balance().disputes == ()
    assert [line.kind for line in movements_of(charge)] == ["capture"]
    assert isinstance(charge.refund(), Refunded)


def test_an_inquiry_that_becomes_a_dispute_delays_the_refund(sandbox: Sandbox) -> None:
    charge = Charged()
    inquiry = dispute(sandbox, charge, status="warning_needs_response")
    proceed(sandbox, inquiry, "needs_response")
    assert isinstance(charge.refund(), Pending)


def test_a_refund_waits_for_a_dispute_that_opened_after_the_charge_was_read(
    sandbox: Sandbox,
) -> None:
    charge = Charged()
    sandbox.fault("refunds.create", "slow", seconds=2)
    with ThreadPoolExecutor() as threads:
        refund = threads.submit(charge.refund)
        until(lambda: has_struck(sandbox), "the refund is under way")
        disputed = dispute(sandbox, charge)
        answer = refund.result(timeout=30)
    assert isinstance(answer, Pending)
    assert disputed in answer.reason


def has_struck(sandbox: Sandbox) -> bool:
    (rule,) = sandbox.http.get("/sandbox/faults").json()["data"]
    return bool(rule["struck"])


def test_no_evidence_is_wanted_once_stripe_has_it(sandbox: Sandbox) -> None:
    charge = Charged()
    disputed = dispute(sandbox, charge)
    assert charge.balance().disputes[0].respond_by is not None
    proceed(sandbox, disputed, "under_review")
    (reviewed,) = charge.balance().disputes
    assert (reviewed.status, reviewed.respond_by) == (DisputeStatus.OPEN, None)


def test_the_balance_has_the_amount_status_and_deadline_of_a_dispute(sandbox: Sandbox) -> None:
    charge = Charged()
    disputed = dispute(sandbox, charge, amount=500, reason="fraudulent")
    (open_one,) = charge.balance().disputes
    assert (open_one.id, open_one.amount, open_one.reason) == (disputed, 500, "fraudulent")
    assert open_one.status is DisputeStatus.OPEN
    assert open_one.respond_by is not None
    assert open_one.respond_by > open_one.opened_at
    assert (charge.balance().disputed, charge.balance().remaining) == (500, 750)
    proceed(sandbox, disputed, "won")
    (won,) = charge.balance().disputes
    assert (won.status, charge.balance().remaining) == (DisputeStatus.WON, 1250)


def test_the_statement_has_withdrawals_and_returns_with_our_order(sandbox: Sandbox) -> None:
    charge = Charged()
    disputed = dispute(sandbox, charge, amount=500)
    proceed(sandbox, disputed, "won")
    capture, *moved = movements_of(charge)
    assert sorted((line.kind, line.id, line.amount, line.currency) for line in moved) == [
        ("dispute", disputed, 500, "eur"),
        ("dispute_return", disputed, 500, "eur"),
    ]
    assert {(line.order_id, line.key) for line in moved} == {
        (charge.request.order_id, charge.request.key)
    }
    assert all(line.at >= capture.at for line in moved)


def test_a_dispute_is_in_the_window_of_its_withdrawal(sandbox: Sandbox) -> None:
    charge = Charged()
    dispute(sandbox, charge)
    now = datetime.now(UTC)
    for start, end, kinds in (
        (now - timedelta(hours=2), now - timedelta(hours=1), []),
        (now - timedelta(minutes=5), now + timedelta(hours=1), ["capture", "dispute"]),
    ):
        lines = get_gateway().statement(start, end)
        assert [line.kind for line in lines if line.charge_id == charge.id] == kinds
