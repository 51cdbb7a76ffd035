"""The facts of an order that a return needs, for the setting RETURNABLE_ORDERS.

Returns must not import orders, so the setting RETURNABLE_ORDERS names `returnable_order`.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from orders.models import Order
from orders.status import Status

__all__ = ["returnable_order"]


def returnable_order(order_id: UUID) -> Mapping[str, Any] | None:
    """Return an order's customer, amount, currency and lines as charged; None if unknown.

    `fulfilled` tells whether the order is fulfilled. From then on none of it changes. Amounts are
    in minor units of the currency.
    """
    order = Order.objects.filter(id=order_id).first()
    if order is None:
        return None
    return {
        "user_id": order.user_id,
        "fulfilled": order.status == Status.FULFILLED,
        "amount": order.amount,
        "currency": order.currency,
        "lines": [
            {"sku": line.sku, "quantity": line.quantity, "unit_amount": line.unit_amount}
            for line in order.placed_lines
        ],
    }
