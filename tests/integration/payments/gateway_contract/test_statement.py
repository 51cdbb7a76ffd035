"""The statement has every movement of money exactly once, and agrees with the gateway's ledger."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from payments.gateways.base import Captured, Movement
from tests.integration.payments.gateway_contract.cases import (
    LONG,
    authorized,
    captured,
    movements_of,
    needs,
    refund,
    refund_request,
    request,
    statement,
)
from tests.integration.payments.gateway_contract.harness import (
    Capability,
    GatewayHarness,
    Method,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])

# A page has a hundred lines at most gateways.
PAGE_AND_A_HALF = 150


def test_each_movement_is_in_the_statement_once_with_its_order_and_key(
    harness: GatewayHarness,
) -> None:
    made = [captured(harness) for _ in range(3)]
    for charge, taken in made[:2]:
        refund(harness, refund_request(charge, taken))

    lines = movements_of(harness, *[taken.charge_id for _, taken in made])
    assert Counter((line.kind, line.order_id, line.amount) for line in lines) == {
        **{("capture", charge.order_id, 1250): 1 for charge, _ in made},
        **{("refund", charge.order_id, 1250): 1 for charge, _ in made[:2]},
    }
    assert len({(line.kind, line.id) for line in lines}) == len(lines)
    for charge, taken in made:
        (capture, *refunds) = [line for line in lines if line.charge_id == taken.charge_id]
        assert (capture.kind, capture.key) == ("capture", charge.key)
        assert all(line.key.startswith(f"refund-{charge.order_id}") for line in refunds)
        assert all(line.at >= capture.at for line in refunds)


def test_charges_that_moved_no_money_are_not_in_the_statement(harness: GatewayHarness) -> None:
    held, declined, barred = (
        authorized(harness),
        request(harness, Method.DECLINES),
        request(harness),
    )
    harness.client().charge([declined])
    harness.client().void([barred])
    without_money = {held.order_id, declined.order_id, barred.order_id}
    assert without_money.isdisjoint(line.order_id for line in statement(harness))


@needs(Capability.REFUND_BY_HAND)
def test_a_refund_by_hand_belongs_to_its_charge_but_to_no_order(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    harness.refund_by_hand(taken.charge_id, 250)
    refund(harness, refund_request(charge, taken))
    capture, *refunds = movements_of(harness, taken.charge_id)
    assert capture.kind == "capture"
    assert {(line.amount, line.order_id) for line in refunds} == {
        (250, None),
        (1000, charge.order_id),
    }


@needs(Capability.REFUND_BOUNCES)
def test_a_bounced_refund_is_not_left_in_the_statement(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    refund(harness, refund_request(charge, taken))
    harness.settle_refund(taken.charge_id, succeeds=False)
    assert [line.kind for line in movements_of(harness, taken.charge_id)] == ["capture"]


@needs(Capability.FAILED_REFUNDS)
def test_a_refund_that_failed_in_a_window_is_listed_whenever_it_was_made(
    harness: GatewayHarness,
) -> None:
    (failed, first), (kept, second) = captured(harness), captured(harness)
    refund(harness, refund_request(failed, first))
    refund(harness, refund_request(kept, second))
    harness.settle_refund(first.charge_id, succeeds=False)

    now = datetime.now(UTC)
    listed = set(harness.client().failed_refunds(now - LONG, now + LONG))
    assert first.charge_id in listed
    assert second.charge_id not in listed


def test_windows_that_follow_each_other_have_no_gap_and_no_overlap(
    harness: GatewayHarness,
) -> None:
    made = [captured(harness) for _ in range(3)]
    charges = [taken.charge_id for _, taken in made]
    whole = movements_of(harness, *charges)
    border = whole[1].at

    client = harness.client()
    earlier = [
        line for line in client.statement(border - LONG, border) if line.charge_id in charges
    ]
    later = [line for line in client.statement(border, border + LONG) if line.charge_id in charges]
    assert lines_in_order(earlier + later) == lines_in_order(whole)
    assert all(line.at < border for line in earlier)
    assert all(line.at >= border for line in later)


def test_a_statement_of_more_than_a_page_is_complete(harness: GatewayHarness) -> None:
    charges = [request(harness) for _ in range(PAGE_AND_A_HALF)]
    answers = harness.client().charge(charges)
    assert {type(answer) for answer in answers} == {Captured}
    orders = Counter(line.order_id for line in statement(harness))
    assert {charge.order_id: orders[charge.order_id] for charge in charges} == {
        charge.order_id: 1 for charge in charges
    }


def lines_in_order(lines: list[Movement]) -> list[tuple[str, str]]:
    """Return the kinds and ids of lines in an order that does not depend on the statement's."""
    return sorted((line.kind, line.id) for line in lines)
