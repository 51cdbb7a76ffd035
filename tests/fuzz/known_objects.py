"""Rows of every kind that the API can read, with ids that are known beforehand."""

from uuid import UUID

from django.db.models.functions import Now

from inventory.services import adjust_stock
from orders.models import Order, TimelineEvent
from orders.status import Status
from payments.models import Payment
from returns.events import LineReturned, ReturnRequested
from returns.models import Return, ReturnedOrder, ReturnLine
from returns.saga import RETURN_GOODS
from sagas import start
from sagas.ids import uuid7
from tests.integration.orders import harness

__all__ = ["CURRENCY", "ORDERS", "PAYMENT", "PRICE", "RETURN", "SKU", "STEP", "create"]

# An order in each state that answers differently.
ORDERS = {
    Status.PENDING: UUID("0192f0c1-0000-7000-8000-000000000001"),
    Status.FULFILLED: UUID("0192f0c1-0000-7000-8000-000000000002"),
    Status.CANCELLED: UUID("0192f0c1-0000-7000-8000-000000000003"),
}
PAYMENT = UUID("0192f0c1-0000-7000-8000-000000000004")
RETURN = UUID("0192f0c1-0000-7000-8000-000000000005")
STEP = "returns.receive"
SKU = "MUG"
PRICE, CURRENCY = 1250, "eur"


def create() -> None:
    """Insert a product, its stock, a payment, a return, and the customer's orders with an event
    each.
    """
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
    _create_return()
    Payment.objects.create(
        id=PAYMENT,
        order_id=ORDERS[Status.PENDING],
        amount=2500,
        currency="eur",
        charge_key="charge",
        refund_key="refund",
    )


def _create_return() -> None:
    """Start the saga of a return of one mug, which waits for its goods."""
    order = Order.objects.get(id=ORDERS[Status.FULFILLED])
    returned = ReturnedOrder.objects.create(
        order_id=order.id, user=order.user, amount=order.amount, currency=order.currency
    )
    row = Return(
        id=RETURN,
        order=returned,
        user=order.user,
        amount=PRICE,
        currency=CURRENCY,
        reason="It is broken.",
    )
    requested = ReturnRequested(
        order_id=order.id,
        kind=row.kind,
        amount=PRICE,
        currency=CURRENCY,
        needs_approval=False,
        lines=(LineReturned(SKU, 1, PRICE),),
    )
    start(RETURN_GOODS, row, requested)
    ReturnLine.objects.create(of_return=row, sku=SKU, quantity=1, unit_amount=PRICE)
