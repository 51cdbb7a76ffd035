"""The steps as plain tasks. Celery retries a task that raises."""

from typing import Any

from celery import shared_task
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from inventory.models import StockItem
from orders.models import Order
from payments.gateways.base import Captured, ChargeRequest, Declined, RefundRequest
from payments.gateways.simulated import SimulatedGateway
from payments.models import Payment

RETRIED: dict[str, Any] = {"autoretry_for": (Exception,), "retry_backoff": 1, "max_retries": 5}
OPEN = ("pending", "paid", "reserved")


class SoldOut(Exception):
    """The stock has too few pieces."""


@shared_task(name="naive.charge", queue="payments", **RETRIED)
def charge(order_id: str) -> None:
    """Charge the order."""
    order = Order.objects.get(id=order_id)
    if order.status != "pending":
        return
    if not order.amount:
        Order.objects.filter(id=order.id, status="pending").update(status="paid")
        return

    key = f"charge-{order.id}"
    request = ChargeRequest(key, order.id, order.amount, order.currency, order.payment_method)
    (answer,) = SimulatedGateway().find([request])
    if not isinstance(answer, Captured):
        (answer,) = SimulatedGateway().charge([request])

    if isinstance(answer, Declined):
        cancel(order, "payment_declined")
    elif isinstance(answer, Captured):
        _paid(order, answer.charge_id)
    else:
        raise TimeoutError(f"{answer}")


@shared_task(name="naive.reserve", queue="inventory", **RETRIED)
def reserve(order_id: str) -> None:
    """Take the order's pieces from the stock."""
    order = Order.objects.get(id=order_id)
    if order.status != "paid":
        return

    try:
        with transaction.atomic(using="inventory"):
            for line in order.placed_lines:
                _take(line.sku, line.quantity)
    except SoldOut:
        _refund(order)
        cancel(order, "out_of_stock")
    else:
        Order.objects.filter(id=order.id, status="paid").update(status="reserved")


@shared_task(name="naive.fulfil", queue="orders", **RETRIED)
def fulfil(order_id: str) -> None:
    """Fulfil the order."""
    Order.objects.filter(id=order_id, status="reserved").update(status="fulfilled", ended_at=Now())


def cancel(order: Order, reason: str) -> None:
    """End an open order."""
    still_open = Order.objects.filter(id=order.id, status__in=OPEN)
    still_open.update(status="cancelled", failure_code=reason, ended_at=Now())


def _paid(order: Order, charge_id: str) -> None:
    Payment.objects.get_or_create(
        order_id=order.id,
        defaults={
            "status": "captured",
            "amount": order.amount,
            "currency": order.currency,
            "payment_method": order.payment_method,
            "charge_id": charge_id,
            "charge_key": f"charge-{order.id}",
            "refund_key": f"refund-{order.id}",
        },
    )
    Order.objects.filter(id=order.id, status="pending").update(status="paid")


def _take(sku: str, quantity: int) -> None:
    taken = StockItem.objects.filter(sku=sku, on_hand__gte=quantity)
    if not taken.update(on_hand=F("on_hand") - quantity, shipped=F("shipped") + quantity):
        raise SoldOut


def _refund(order: Order) -> None:
    if not order.amount:
        return
    payment = Payment.objects.get(order_id=order.id)
    request = RefundRequest(
        payment.refund_key, order.id, str(payment.charge_id), order.amount, order.currency
    )
    SimulatedGateway().refund([request])
    Payment.objects.filter(id=payment.id).update(status="refunded", refunded_amount=order.amount)
