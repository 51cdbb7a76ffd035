"""A dispute withdraws money. The refund of a disputed charge waits for it, and ends with it."""

import pytest

from payments.gateways.base import DisputeStatus, Pending, Refunded
from tests.integration.payments.gateway_contract.cases import (
    balance_of,
    captured,
    movements_of,
    needs,
    refund,
    refund_request,
)
from tests.integration.payments.gateway_contract.harness import Capability, GatewayHarness

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


@needs(Capability.DISPUTES)
def test_an_open_dispute_withholds_the_refund(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    opened = harness.open_dispute(taken.charge_id, 1250)

    balance = balance_of(harness, charge)
    (dispute,) = balance.disputes
    assert (dispute.id, dispute.amount, dispute.status) == (opened, 1250, DisputeStatus.OPEN)
    assert dispute.reason
    assert dispute.respond_by is not None
    assert (balance.captured, balance.disputed, balance.remaining) == (1250, 1250, 0)

    for _ in range(2):
        waiting = refund(harness, refund_request(charge, taken))
        assert isinstance(waiting, Pending)
        assert waiting.expected_at is not None
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "dispute": 1250}


@needs(Capability.DISPUTES)
def test_a_lost_dispute_is_the_refund(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    dispute = harness.open_dispute(taken.charge_id, 1250)
    harness.close_dispute(dispute, won=False)
    assert refund(harness, refund_request(charge, taken)) == Refunded(dispute, 0, 1250)
    balance = balance_of(harness, charge)
    assert [each.status for each in balance.disputes] == [DisputeStatus.LOST]
    assert (balance.refunded, balance.disputed, balance.remaining) == (0, 1250, 0)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "dispute": 1250}


@needs(Capability.DISPUTES)
def test_after_a_won_dispute_the_refund_goes_on(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    dispute = harness.open_dispute(taken.charge_id, 1250)
    assert isinstance(refund(harness, refund_request(charge, taken)), Pending)
    harness.close_dispute(dispute, won=True)
    balance = balance_of(harness, charge)
    assert [each.status for each in balance.disputes] == [DisputeStatus.WON]
    assert (balance.disputed, balance.remaining) == (0, 1250)

    answer = refund(harness, refund_request(charge, taken))
    assert isinstance(answer, Refunded)
    assert (answer.amount, answer.disputed) == (1250, 0)
    assert harness.moved_money(charge.order_id) == {
        "capture": 1250,
        "dispute": 1250,
        "dispute_return": 1250,
        "refund": 1250,
    }


@needs(Capability.DISPUTES)
def test_after_a_lost_dispute_of_part_the_rest_is_refunded(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    harness.close_dispute(harness.open_dispute(taken.charge_id, 500), won=False)
    for _ in range(2):
        answer = refund(harness, refund_request(charge, taken))
        assert isinstance(answer, Refunded)
        assert (answer.amount, answer.disputed) == (750, 500)
    assert harness.moved_money(charge.order_id) == {
        "capture": 1250,
        "dispute": 500,
        "refund": 750,
    }


@needs(Capability.DISPUTES, Capability.REFUND_BY_HAND)
def test_a_dispute_of_the_rest_ends_a_partly_refunded_charge(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    harness.refund_by_hand(taken.charge_id, 250)
    harness.close_dispute(harness.open_dispute(taken.charge_id, 1000), won=False)
    answer = refund(harness, refund_request(charge, taken))
    assert isinstance(answer, Refunded)
    assert (answer.amount, answer.disputed) == (250, 1000)


@needs(Capability.DISPUTES)
def test_the_statement_has_the_withdrawal_and_the_return(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    dispute = harness.open_dispute(taken.charge_id, 1250)
    assert [(line.kind, line.amount) for line in movements_of(harness, taken.charge_id)] == [
        ("capture", 1250),
        ("dispute", 1250),
    ]
    harness.close_dispute(dispute, won=True)
    capture, *lines = movements_of(harness, taken.charge_id)
    assert sorted((line.kind, line.id, line.amount) for line in lines) == [
        ("dispute", dispute, 1250),
        ("dispute_return", dispute, 1250),
    ]
    assert capture.kind == "capture"
    assert {(line.order_id, line.currency) for line in (capture, *lines)} == {
        (charge.order_id, "eur")
    }


@needs(Capability.DISPUTES)
def test_a_lost_dispute_of_a_part_leaves_its_withdrawal_in_the_statement(
    harness: GatewayHarness,
) -> None:
    _, taken = captured(harness)
    harness.close_dispute(harness.open_dispute(taken.charge_id, 500), won=False)
    assert [(line.kind, line.amount) for line in movements_of(harness, taken.charge_id)] == [
        ("capture", 1250),
        ("dispute", 500),
    ]
