"""Orders are paid, cancelled and refunded through any gateway, and the books agree with it."""

from datetime import UTC, datetime, timedelta

import pytest

from audit.run import audit
from orders.models import Order
from orders.saga import AUTHORIZE_FIRST
from payments.models import Payment
from payments.reconciliation import reconcile
from tests.integration.audit import harness as shop
from tests.integration.payments.gateway_contract.harness import (
    GatewayHarness,
    Method,
)

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

HOUR = timedelta(hours=1)


def test_orders_end_with_the_right_money_at_every_gateway(harness: GatewayHarness) -> None:
    shop.open_shop()
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
    assert audit(expect_ended=True).violations == 0
    now = datetime.now(UTC)
    assert reconcile(now - HOUR, now + HOUR).open == ()
