"""The simulated payment methods that move part of the money, or fail the first refund."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from payments.gateways import get_gateway
from payments.gateways.base import (
    Captured,
    ChargeBalance,
    ChargeRequest,
    DisputeStatus,
    Pending,
    Refunded,
    RefundRequest,
    Unanswered,
)
from payments.gateways.simulated.ledger import SimulatedDispute
from sagas.ids import uuid7
from tests.integration.payments.harness import ledger

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


def charged(method: str, amount: int = 1250) -> tuple[ChargeRequest, Captured]:
    order = uuid7()
    charge = ChargeRequest(f"charge-{order}", order, amount, "eur", method)
    (answer,) = get_gateway().charge([charge])
    assert isinstance(answer, Captured)
    return charge, answer


def refund_of(charge: ChargeRequest, taken: Captured) -> RefundRequest:
    return RefundRequest(f"refund-{charge.order_id}", charge.order_id, taken.charge_id, 1250, "eur")


def balance_of(charge: ChargeRequest) -> ChargeBalance:
    (balance,) = get_gateway().balance([charge])
    assert isinstance(balance, ChargeBalance)
    return balance


@pytest.mark.parametrize(("amount", "part"), [(1250, 500), (1, 1)])
def test_a_partial_capture_takes_40_percent(amount: int, part: int) -> None:
    charge, taken = charged("pm_sim_partial_capture", amount)
    assert taken.amount == part
    assert get_gateway().find([charge]) == [taken]
    assert balance_of(charge).captured == part
    assert ledger(charge.order_id) == {"capture": part}


def test_an_authorization_is_captured_in_part_too() -> None:
    order = uuid7()
    charge = ChargeRequest(f"charge-{order}", order, 1250, "eur", "pm_sim_partial_capture")
    get_gateway().authorize([charge])
    (taken,) = get_gateway().capture([charge])
    assert isinstance(taken, Captured)
    assert taken.amount == 500
    assert ledger(order) == {"capture": 500}


def test_a_fifth_is_refunded_by_hand_right_after_the_capture() -> None:
    charge, taken = charged("pm_sim_partly_refunded")
    assert (balance_of(charge).refunded, balance_of(charge).remaining) == (250, 1000)
    assert get_gateway().refund([refund_of(charge, taken)]) == [
        Refunded(f"re_refund-{charge.order_id}", 1250)
    ]
    now = datetime.now(UTC)
    lines = list(get_gateway().statement(now - timedelta(hours=1), now + timedelta(hours=1)))
    assert [(line.kind, line.amount, line.order_id) for line in lines] == [
        ("capture", 1250, charge.order_id),
        ("refund", 250, None),
        ("refund", 1000, charge.order_id),
    ]


def test_a_bounced_refund_has_a_successor_with_the_next_key() -> None:
    charge, taken = charged("pm_sim_refund_bounces_once")
    (waiting,) = get_gateway().refund([refund_of(charge, taken)])
    assert isinstance(waiting, Pending)
    assert balance_of(charge).refund_pending == 1250
    assert get_gateway().refund([refund_of(charge, taken)]) == [
        Refunded(f"re_refund-{charge.order_id}-2", 1250)
    ]
    assert balance_of(charge).refund_pending == 0
    assert ledger(charge.order_id) == {"capture": 1250, "refund": 1250}


@pytest.mark.parametrize(
    ("method", "refund_id"),
    [("pm_sim_refund_error_once", "re_{}-2"), ("pm_sim_refund_timeout_once", "re_{}")],
)
def test_a_refund_without_an_answer_is_made_once(method: str, refund_id: str) -> None:
    charge, taken = charged(method)
    asked = refund_of(charge, taken)
    (first,) = get_gateway().refund([asked])
    assert isinstance(first, Unanswered)
    assert get_gateway().refund([asked]) == [Refunded(refund_id.format(asked.key), 1250)]
    assert ledger(charge.order_id) == {"capture": 1250, "refund": 1250}


@pytest.mark.parametrize(
    ("method", "status", "answer"),
    [
        ("pm_sim_disputed_won", DisputeStatus.WON, (1250, 0)),
        ("pm_sim_disputed_lost", DisputeStatus.LOST, (0, 1250)),
    ],
)
def test_the_bank_decides_a_dispute_in_time(
    method: str, status: DisputeStatus, answer: tuple[int, int]
) -> None:
    charge, taken = charged(method)
    (dispute,) = balance_of(charge).disputes
    assert (dispute.status, dispute.amount) == (DisputeStatus.OPEN, 1250)
    (waiting,) = get_gateway().refund([refund_of(charge, taken)])
    assert isinstance(waiting, Pending)
    assert waiting.expected_at == SimulatedDispute.objects.get().decided_at

    SimulatedDispute.objects.update(decided_at=timezone.now())
    (decided,) = balance_of(charge).disputes
    assert decided.status == status
    (refunded,) = get_gateway().refund([refund_of(charge, taken)])
    assert isinstance(refunded, Refunded)
    assert (refunded.amount, refunded.disputed) == answer
