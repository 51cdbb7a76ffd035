"""Orders are paid, cancelled and refunded through any gateway, and the books agree with it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.conf import settings
from django.db.models.functions import Now

from audit.run import audit
from orders.models import Order
from orders.saga import AUTHORIZE_FIRST
from payments.followup import follow_up_once
from payments.gateway_requests import charge_request
from payments.gateways.base import ChargeRequest
from payments.models import Inbox, Outbox, Payment
from payments.reconciliation import reconcile
from tests.integration.audit import harness as shop
from tests.integration.payments.gateway_contract.cases import needs
from tests.integration.payments.gateway_contract.harness import (
    Capability,
    GatewayHarness,
    Method,
    RefundFault,
)

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

HOUR = timedelta(hours=1)


@pytest.fixture
def running_harness(request: pytest.FixtureRequest) -> Iterator[GatewayHarness]:
    """Run a gateway for each test, because the audit checks all of its charges."""
    with request.param.running() as harness:
        yield harness


@pytest.fixture(autouse=True)
def _shop(harness: GatewayHarness) -> None:
    assert harness.gateway == settings.PAYMENT_GATEWAY
    shop.open_shop()


def charge_of(order: UUID) -> ChargeRequest:
    """Return the gateway's request for an order's charge."""
    return charge_request(Payment.objects.get(order_id=order))


def charge_id_of(order: UUID) -> str:
    """Return the gateway's id of an order's captured charge."""
    return str(Payment.objects.get(order_id=order).charge_id)


def charged(harness: GatewayHarness, sku: str = "PLATE") -> UUID:
    """Place an order of two pieces, and charge it."""
    order = shop.place(sku, method=harness.method(Method.SUCCEEDS))
    shop.deliver("payments.charge", order)
    return order


def status_of(order: UUID) -> str:
    """Return the status of an order."""
    return Order.objects.get(id=order).status


def books_of(order: UUID) -> tuple[str, int, int, int]:
    """Return the status, captured, refunded and disputed amount of an order's payment."""
    row = Payment.objects.get(order_id=order)
    return row.status, row.captured, row.refunded_amount, row.disputed_amount


def catch_up() -> None:
    """Compare with the gateway's statement, and follow up the payments that differ."""
    now = datetime.now(UTC)
    reconcile(now - HOUR, now + HOUR)
    while follow_up_once():
        pass


def an_hour_passes() -> None:
    """Make the payments due whose disputes are looked at every hour."""
    hourly = Payment.objects.filter(dispute_status="open", balance_due_at__lte=Now() + HOUR)
    assert hourly.update(balance_due_at=Now()) == 1


def books_agree() -> None:
    """Assert that audit and reconciliation find no difference."""
    assert audit(expect_ended=True).violations == 0
    now = datetime.now(UTC)
    assert reconcile(now - HOUR, now + HOUR).open == ()


def test_orders_end_with_the_right_money_at_every_gateway(harness: GatewayHarness) -> None:
    succeeds = harness.method(Method.SUCCEEDS)
    paid = shop.place("MUG", method=succeeds)
    without_stock = shop.place("VASE", method=succeeds)
    declined = shop.place("MUG", method=harness.method(Method.DECLINES))
    cancelled = shop.place("PLATE", method=succeeds)
    shop.deliver("payments.charge", cancelled)
    shop.cancel(cancelled)
    authorized = shop.place("PLATE", method=succeeds, first="authorize")
    released = shop.place("VASE", method=succeeds, first="authorize")
    shop.run_to_end(paid, without_stock, declined, cancelled)
    shop.run_to_end(authorized, released, plan=AUTHORIZE_FIRST.plan)

    assert dict(Order.objects.values_list("id", "status")) == {
        paid: "fulfilled",
        without_stock: "cancelled",
        declined: "cancelled",
        cancelled: "cancelled",
        authorized: "fulfilled",
        released: "cancelled",
    }
    assert harness.moved_money(paid) == {"capture": 2500}
    assert harness.moved_money(without_stock) == {"capture": 16000, "refund": 16000}
    assert harness.moved_money(declined) == {}
    assert harness.moved_money(cancelled) == {"capture": 1800, "refund": 1800}
    assert harness.moved_money(authorized) == {"capture": 1800}
    assert harness.moved_money(released) == {}

    assert set(Payment.objects.values_list("gateway", flat=True)) == {harness.gateway}
    books_agree()


@needs(Capability.CAPTURE_BY_HAND)
def test_an_order_of_which_a_part_was_captured_by_hand_is_not_fulfilled(
    harness: GatewayHarness,
) -> None:
    order = shop.place("MUG", method=harness.method(Method.SUCCEEDS), first="authorize")
    shop.deliver("payments.authorize", order, plan=AUTHORIZE_FIRST.plan)
    harness.capture_by_hand(charge_of(order), 1000)
    shop.run_to_end(order, plan=AUTHORIZE_FIRST.plan)
    assert status_of(order) == "cancelled"
    assert books_of(order) == ("refunded", 1000, 1000, 0)
    assert harness.moved_money(order) == {"capture": 1000, "refund": 1000}
    books_agree()


@needs(Capability.REFUND_BY_HAND)
def test_a_cancel_after_a_refund_of_part_by_hand_gives_back_the_rest(
    harness: GatewayHarness,
) -> None:
    order = charged(harness)
    harness.refund_by_hand(charge_id_of(order), 300)
    shop.cancel(order)
    shop.run_to_end(order)
    assert status_of(order) == "cancelled"
    assert books_of(order) == ("refunded", 1800, 1800, 0)
    assert harness.moved_money(order) == {"capture": 1800, "refund": 1800}
    books_agree()


@needs(Capability.REFUND_PENDING)
def test_a_cancel_outlives_a_refund_that_failed(harness: GatewayHarness) -> None:
    order = shop.place("PLATE", method=harness.arm_refund(RefundFault.PENDING))
    shop.deliver("payments.charge", order)
    shop.cancel(order)
    shop.run_to_end(order)
    # The simulated bank decides by itself.
    for succeeds in (False, True):
        if status_of(order) != "cancelled":
            harness.settle_refund(charge_id_of(order), succeeds=succeeds)
            shop.run_to_end(order)

    assert status_of(order) == "cancelled"
    assert books_of(order) == ("refunded", 1800, 1800, 0)
    assert harness.moved_money(order) == {"capture": 1800, "refund": 1800}
    books_agree()


@needs(Capability.DISPUTES)
@pytest.mark.parametrize("won", [True, False])
def test_a_cancel_of_a_disputed_order_ends_with_the_dispute(
    harness: GatewayHarness, *, won: bool
) -> None:
    order = charged(harness)
    dispute = harness.open_dispute(charge_id_of(order), 1800)
    shop.cancel(order)
    shop.run_to_end(order)
    assert status_of(order) == "cancelling"
    assert "refund" not in harness.moved_money(order)

    harness.close_dispute(dispute, won=won)
    shop.run_to_end(order)
    assert status_of(order) == "cancelled"
    assert harness.moved_money(order)["refund"] == (1800 if won else 0)
    assert books_of(order) == (("refunded", 1800, 1800, 0) if won else ("refunded", 1800, 0, 1800))
    books_agree()


@needs(Capability.REFUND_BY_HAND)
def test_a_goodwill_refund_of_a_fulfilled_order_is_recorded(harness: GatewayHarness) -> None:
    order = charged(harness)
    shop.run_to_end(order)
    harness.refund_by_hand(charge_id_of(order), 300)
    catch_up()
    assert status_of(order) == "fulfilled"
    assert books_of(order) == ("captured", 1800, 300, 0)
    assert harness.moved_money(order) == {"capture": 1800, "refund": 300}
    assert audit(expect_ended=True).violations == 0


@needs(Capability.DISPUTES)
@pytest.mark.parametrize("won", [True, False])
def test_a_dispute_of_a_fulfilled_order_is_recorded(harness: GatewayHarness, *, won: bool) -> None:
    order = charged(harness)
    shop.run_to_end(order)
    dispute = harness.open_dispute(charge_id_of(order), 1800)
    catch_up()
    assert books_of(order) == ("captured", 1800, 0, 1800)
    assert Payment.objects.get(order_id=order).dispute_status == "open"

    harness.close_dispute(dispute, won=won)
    an_hour_passes()
    catch_up()
    assert status_of(order) == "fulfilled"
    assert books_of(order) == ("captured", 1800, 0, 0 if won else 1800)
    assert Payment.objects.get(order_id=order).dispute_status == ("won" if won else "lost")
    assert audit(expect_ended=True).violations == 0


@needs(Capability.REFUND_BOUNCES)
def test_a_refund_that_bounces_after_the_cancel_is_made_again(harness: GatewayHarness) -> None:
    order = shop.place("PLATE", method=harness.arm_refund(RefundFault.BOUNCES_LATER))
    shop.deliver("payments.charge", order)
    shop.cancel(order)
    shop.run_to_end(order)
    assert books_of(order) == ("refunded", 1800, 1800, 0)
    harness.settle_refund(charge_id_of(order), succeeds=False)
    catch_up()
    assert books_of(order) == ("refunded", 1800, 1800, 0)
    assert harness.moved_money(order) == {"capture": 1800, "refund": 1800}
    books_agree()


def test_after_a_restore_the_messages_of_an_order_charge_it_once(harness: GatewayHarness) -> None:
    order = charged(harness)
    Payment.objects.filter(order_id=order).delete()
    Inbox.objects.filter(saga=order).delete()
    Outbox.objects.filter(saga=order).delete()
    shop.deliver("payments.charge", order)
    shop.run_to_end(order)
    assert status_of(order) == "fulfilled"
    assert harness.moved_money(order) == {"capture": 1800}
    books_agree()


def test_a_cancel_asks_the_gateway_for_a_charge_that_a_restore_took_away(
    harness: GatewayHarness,
) -> None:
    order = charged(harness)
    Payment.objects.filter(order_id=order).delete()
    shop.cancel(order)
    shop.run_to_end(order)
    assert status_of(order) == "cancelled"
    assert books_of(order) == ("refunded", 1800, 1800, 0)
    assert harness.moved_money(order) == {"capture": 1800, "refund": 1800}
    books_agree()
