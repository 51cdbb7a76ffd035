"""A refund gives back the rest of a charge, once, and never more than was captured."""

from functools import partial

import pytest

from payments.gateways.base import (
    Captured,
    ChargeRequest,
    Declined,
    Pending,
    RefundAnswer,
    Refunded,
    RefundRequest,
    Unanswered,
)
from tests.integration.payments.gateway_contract.cases import (
    answer_of,
    authorized,
    balance_of,
    captured,
    needs,
    refund,
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


def whole_amount(answer: RefundAnswer) -> bool:
    """Tell whether an answer says that the customer has 12.50 euros back by refunds."""
    return isinstance(answer, Refunded) and (answer.amount, answer.disputed) == (1250, 0)


def armed(harness: GatewayHarness, fault: RefundFault) -> tuple[ChargeRequest, Captured]:
    """Capture a charge whose first refund has a fault."""
    return captured(harness, request(harness, payment_method=harness.arm_refund(fault)))


def test_a_charge_is_refunded_once(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    first = refund(harness, refund_request(charge, taken))
    assert whole_amount(first)
    assert refund(harness, refund_request(charge, taken)) == first
    assert balance_of(harness, charge).refunded == 1250
    assert balance_of(harness, charge).remaining == 0
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


def test_concurrent_refunds_refund_once(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    asked = refund_request(charge, taken)
    at_once([partial(harness.client().refund, [asked])] * 6)
    assert whole_amount(refund(harness, asked))
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


def test_a_refund_never_exceeds_the_captured_amount(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    assert whole_amount(refund(harness, refund_request(charge, taken, 9999)))
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


def test_a_charge_without_a_capture_is_not_refunded(harness: GatewayHarness) -> None:
    charge = authorized(harness)
    unknown = RefundRequest(
        f"refund-{charge.order_id}", charge.order_id, "ch_unknown", 1250, "eur", charge.gateway
    )
    (answer,) = harness.client().refund([unknown])
    assert isinstance(answer, Declined | Unanswered)
    assert harness.moved_money(charge.order_id) == {}


@needs(Capability.CAPTURE_BY_HAND)
def test_after_a_capture_of_part_the_part_is_refunded(harness: GatewayHarness) -> None:
    charge = authorized(harness)
    harness.capture_by_hand(charge, 500)
    taken = answer_of(harness.client().find, charge)
    assert isinstance(taken, Captured)
    answer = refund(harness, refund_request(charge, taken, 1250))
    assert isinstance(answer, Refunded)
    assert answer.amount == 500
    assert harness.moved_money(charge.order_id) == {"capture": 500, "refund": 500}


@needs(Capability.REFUND_BY_HAND)
def test_after_a_refund_of_part_by_hand_the_rest_is_refunded(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    harness.refund_by_hand(taken.charge_id, 250)
    assert balance_of(harness, charge).remaining == 1000
    for _ in range(2):
        assert whole_amount(refund(harness, refund_request(charge, taken)))
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


@needs(Capability.REFUND_BY_HAND)
def test_a_refund_of_the_whole_by_hand_is_not_repeated(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    harness.refund_by_hand(taken.charge_id, 250)
    harness.refund_by_hand(taken.charge_id, 1000)
    assert whole_amount(refund(harness, refund_request(charge, taken)))
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


@needs(Capability.REFUND_PENDING)
def test_a_refund_is_pending_until_the_bank_decides(harness: GatewayHarness) -> None:
    charge, taken = armed(harness, RefundFault.PENDING)
    waiting = refund(harness, refund_request(charge, taken))
    assert isinstance(waiting, Pending)
    assert waiting.expected_at is not None
    balance = balance_of(harness, charge)
    assert (balance.refunded, balance.refund_pending, balance.remaining) == (0, 1250, 0)
    harness.settle_refund(taken.charge_id, succeeds=True)
    assert whole_amount(refund(harness, refund_request(charge, taken)))
    balance = balance_of(harness, charge)
    assert (balance.refunded, balance.refund_pending) == (1250, 0)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


@needs(Capability.REFUND_PENDING)
def test_a_refund_that_failed_is_followed_by_another_one(harness: GatewayHarness) -> None:
    charge, taken = armed(harness, RefundFault.PENDING)
    assert isinstance(refund(harness, refund_request(charge, taken)), Pending)
    harness.settle_refund(taken.charge_id, succeeds=False)
    assert balance_of(harness, charge).remaining == 1250

    answer = refund(harness, refund_request(charge, taken))
    if isinstance(answer, Pending):
        harness.settle_refund(taken.charge_id, succeeds=True)
        answer = refund(harness, refund_request(charge, taken))
    assert whole_amount(answer)
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


@needs(Capability.REFUND_BOUNCES)
def test_a_refund_that_bounces_is_followed_by_another_one(harness: GatewayHarness) -> None:
    charge, taken = armed(harness, RefundFault.BOUNCES_LATER)
    assert whole_amount(refund(harness, refund_request(charge, taken)))
    harness.settle_refund(taken.charge_id, succeeds=False)
    assert balance_of(harness, charge).remaining == 1250
    assert harness.moved_money(charge.order_id) == {"capture": 1250}

    at_once([partial(harness.client().refund, [refund_request(charge, taken)])] * 3)
    assert whole_amount(refund(harness, refund_request(charge, taken)))
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


@needs(Capability.REFUND_ERROR)
def test_a_refund_with_a_saved_error_is_made_under_the_next_key(harness: GatewayHarness) -> None:
    charge, taken = armed(harness, RefundFault.ERROR)
    (failed,) = harness.client().refund([refund_request(charge, taken)])
    assert isinstance(failed, Unanswered)
    assert harness.moved_money(charge.order_id) == {"capture": 1250}
    assert whole_amount(refund(harness, refund_request(charge, taken)))
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


@needs(Capability.REFUND_LOST_ANSWER)
def test_a_refund_with_a_lost_answer_is_found(harness: GatewayHarness) -> None:
    charge, taken = armed(harness, RefundFault.LOST_ANSWER)
    (lost,) = harness.client().refund([refund_request(charge, taken)])
    assert isinstance(lost, Unanswered)
    assert whole_amount(refund(harness, refund_request(charge, taken)))
    assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}
