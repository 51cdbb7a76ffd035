"""Parts of a charge are given back, each once under its key, and never more than was captured."""

from functools import partial

import pytest
from msgspec.structs import replace

from payments.gateways.base import (
    Captured,
    ChargeRequest,
    Declined,
    PartRefundAnswer,
    PartRefunded,
    Pending,
    Refunded,
    Unanswered,
)
from tests.integration.payments.gateway_contract.cases import (
    balance_of,
    captured,
    movements_of,
    needs,
    part_request,
    refund,
    refund_part,
    refund_request,
    request,
)
from tests.integration.payments.gateway_contract.harness import (
    Capability,
    GatewayHarness,
    RefundFault,
)
from tests.integration.races import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


def sums(answer: PartRefundAnswer) -> tuple[int, int]:
    """Return the amounts given back under the key, and of the whole charge."""
    assert isinstance(answer, PartRefunded), answer
    return answer.amount, answer.total


def armed(harness: GatewayHarness, fault: RefundFault) -> tuple[ChargeRequest, Captured]:
    """Capture a charge whose first refund has a fault."""
    return captured(harness, request(harness, payment_method=harness.arm_refund(fault)))


@needs(Capability.PART_REFUNDS)
def test_each_part_is_given_back_once(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    first, second = part_request(charge, taken, 300), part_request(charge, taken, 450)
    assert sums(refund_part(harness, first)) == (300, 300)
    assert sums(refund_part(harness, second)) == (450, 750)
    assert sums(refund_part(harness, first)) == (300, 750)
    assert balance_of(harness, charge).remaining == 500
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 750}


@needs(Capability.PART_REFUNDS)
def test_concurrent_requests_of_one_part_give_it_back_once(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    part = part_request(charge, taken, 300)
    at_once([partial(harness.client().refund_part, [part])] * 6)
    assert sums(refund_part(harness, part)) == (300, 300)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 300}


@needs(Capability.PART_REFUNDS)
def test_two_parts_at_once_give_back_at_most_the_captured_amount(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    parts = [part_request(charge, taken, 700) for _ in range(2)]
    at_once([partial(harness.client().refund_part, [part]) for part in parts])
    for part in parts:
        refund_part(harness, part)
    answers = [refund_part(harness, part) for part in parts]
    assert sorted(sums(answer) for answer in answers) == [(550, 1250), (700, 1250)]
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


@needs(Capability.PART_REFUNDS)
def test_a_later_refund_of_the_whole_gives_back_the_rest(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    part = part_request(charge, taken, 300)
    refund_part(harness, part)
    answer = refund(harness, refund_request(charge, taken))
    assert isinstance(answer, Refunded)
    assert answer.amount == 1250
    assert sums(refund_part(harness, part)) == (300, 1250)
    assert sums(refund_part(harness, part_request(charge, taken, 1))) == (0, 1250)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


@needs(Capability.PART_REFUNDS)
def test_a_part_of_a_charge_without_a_capture_is_not_given_back(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    unknown = replace(part_request(charge, taken, 300), charge_id="ch_unknown")
    (answer,) = harness.client().refund_part([unknown])
    assert isinstance(answer, Declined | Unanswered)
    assert harness.moved_money(charge.order_id) == {"capture": 1250}


@needs(Capability.PART_REFUNDS)
def test_the_statement_names_the_key_of_each_part(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    parts = [part_request(charge, taken, amount) for amount in (300, 450)]
    answers = [refund_part(harness, part) for part in parts]
    lines = {
        line.key: (line.id, line.amount)
        for line in movements_of(harness, taken.charge_id)
        if line.kind == "refund"
    }
    assert lines == {
        part.key: (answer.refund_id, part.amount)
        for part, answer in zip(parts, answers, strict=True)
        if isinstance(answer, PartRefunded)
    }


@needs(Capability.PART_REFUNDS, Capability.REFUND_BY_HAND)
def test_a_refund_by_hand_does_not_count_towards_a_part(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    harness.refund_by_hand(taken.charge_id, 250)
    assert sums(refund_part(harness, part_request(charge, taken, 300))) == (300, 550)
    assert sums(refund_part(harness, part_request(charge, taken, 900))) == (700, 1250)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


@needs(Capability.PART_REFUNDS, Capability.DISPUTES)
def test_a_part_waits_for_a_dispute_and_is_given_back_if_it_is_won(
    harness: GatewayHarness,
) -> None:
    charge, taken = captured(harness)
    dispute = harness.open_dispute(taken.charge_id, 1250)
    part = part_request(charge, taken, 300)
    waiting = refund_part(harness, part)
    assert isinstance(waiting, Pending)
    assert waiting.expected_at is not None
    harness.close_dispute(dispute, won=True)
    assert sums(refund_part(harness, part)) == (300, 300)
    assert harness.moved_money(charge.order_id)["refund"] == 300


@needs(Capability.PART_REFUNDS, Capability.DISPUTES)
def test_a_part_of_a_lost_charge_is_not_given_back_twice(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    harness.close_dispute(harness.open_dispute(taken.charge_id, 1250), won=False)
    answer = refund_part(harness, part_request(charge, taken, 300))
    assert sums(answer) == (0, 0)
    assert isinstance(answer, PartRefunded)
    assert answer.disputed == 1250
    assert harness.moved_money(charge.order_id)["refund"] == 0


@needs(Capability.PART_REFUNDS, Capability.REFUND_PENDING)
def test_a_part_whose_refund_failed_is_given_back_by_another_one(harness: GatewayHarness) -> None:
    charge, taken = armed(harness, RefundFault.PENDING)
    part = part_request(charge, taken, 300)
    assert isinstance(refund_part(harness, part), Pending)
    harness.settle_refund(taken.charge_id, succeeds=False)

    answer = refund_part(harness, part)
    if isinstance(answer, Pending):
        harness.settle_refund(taken.charge_id, succeeds=True)
        answer = refund_part(harness, part)
    assert sums(answer) == (300, 300)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 300}


@needs(Capability.PART_REFUNDS, Capability.REFUND_BOUNCES)
def test_a_part_that_bounces_is_given_back_once_more(harness: GatewayHarness) -> None:
    charge, taken = armed(harness, RefundFault.BOUNCES_LATER)
    part = part_request(charge, taken, 300)
    assert sums(refund_part(harness, part)) == (300, 300)
    harness.settle_refund(taken.charge_id, succeeds=False)
    at_once([partial(harness.client().refund_part, [part])] * 3)
    assert sums(refund_part(harness, part)) == (300, 300)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 300}


@needs(Capability.PART_REFUNDS, Capability.REFUND_ERROR)
def test_a_part_with_a_saved_error_is_given_back_under_the_next_key(
    harness: GatewayHarness,
) -> None:
    charge, taken = armed(harness, RefundFault.ERROR)
    part = part_request(charge, taken, 300)
    (failed,) = harness.client().refund_part([part])
    assert isinstance(failed, Unanswered)
    assert harness.moved_money(charge.order_id) == {"capture": 1250}
    at_once([partial(refund_part, harness, part)] * 3)
    assert sums(refund_part(harness, part)) == (300, 300)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 300}


@needs(Capability.PART_REFUNDS, Capability.REFUND_LOST_ANSWER)
def test_a_part_with_a_lost_answer_is_found(harness: GatewayHarness) -> None:
    charge, taken = armed(harness, RefundFault.LOST_ANSWER)
    part = part_request(charge, taken, 300)
    (lost,) = harness.client().refund_part([part])
    assert isinstance(lost, Unanswered)
    assert sums(refund_part(harness, part)) == (300, 300)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 300}


@needs(Capability.PART_REFUNDS, Capability.OLD_KEYS)
def test_a_part_whose_key_is_forgotten_is_looked_up(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    part = part_request(charge, taken, 300)
    refund_part(harness, part)
    harness.make_old(charge)
    assert sums(refund_part(harness, part)) == (300, 300)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 300}
