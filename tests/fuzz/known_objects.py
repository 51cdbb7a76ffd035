"""Rows of every kind that the API can read, with ids that are known beforehand."""

from uuid import UUID

from django.db.models.functions import Now

from inventory.services import adjust_stock
from orders.models import Order, TimelineEvent
from orders.status import Status
from payments.models import Payment
from sagas.ids import uuid7
from tests.integration.orders import harness

__all__ = ["CURRENCY", "ORDERS", "PAYMENT", "PRICE", "SKU", "create"]

# An order in each state that answers differently.
ORDERS = {
    Status.PENDING: UUID("0192f0c1-0000-7000-8000-000000000001"),
    Status.FULFILLED: UUID("0192f0c1-0000-7000-8000-000000000002"),
    Status.CANCELLED: UUID("0192f0c1-0000-7000-8000-000000000003"),
}
PAYMENT = UUID("0192f0c1-0000-7000-8000-000000000004")
SKU = "MUG"
PRICE, CURRENCY = 1250, "eur"


def create() -> None:
    """Insert a product, its stock, a payment, and the customer's orders with an event each."""
    harness.stocked(SKU, unit_amount=PRICE, currency=CURRENCY)
    adjust_stock(sku=SKU, quantity=1_000, reason="delivery", by="tests")
    for status, order_id in ORDERS.items():
        order: Order = harness.order(status, of="customer", id=order_id)
        TimelineEvent.objects.create(
            id=uuid7(),
            saga=order.id,
            seq=0,
            type="order.created",
            service="orders",
            at=Now(),
            detail={"amount": 2500},
        )
    Payment.objects.create(
        id=PAYMENT,
        order_id=ORDERS[Status.PENDING],
        amount=2500,
        currency="eur",
        charge_key="charge",
        refund_key="refund",
    )
