"""The money of orders, in short: for the API of orders, which must not import payments.

The setting PAYMENT_SUMMARIES names `payment_summaries`.
"""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from payments.models import Payment

__all__ = ["known_captured", "known_owed", "payment_summaries"]

Status = Payment.Status

# The gateway may have captured money of such a payment without our knowing.
UNDECIDED = frozenset({Status.PENDING, Status.AUTHORIZED})


def payment_summaries(orders: Collection[UUID]) -> Mapping[UUID, Mapping[str, Any]]:
    """Return the summaries of the payments of some orders by order id, in one query.

    An order without a payment is missing. Amounts are in minor units.
    """
    payments = Payment.objects.filter(order_id__in=orders)
    return {payment.order_id: _summary(payment) for payment in payments}


def known_captured(payment: Payment) -> int | None:
    """Return the captured amount in minor units; None while it is not known."""
    return None if payment.status in UNDECIDED else payment.captured


def known_owed(payment: Payment) -> int | None:
    """Return the amount in minor units that is to be given back; None while it is not known."""
    return None if payment.status in UNDECIDED else payment.owed_amount


def _summary(payment: Payment) -> dict[str, Any]:
    return {
        "status": payment.status,
        "amount": payment.amount,
        "captured_amount": known_captured(payment),
        "refunded_amount": payment.refunded_amount,
        "owed_amount": known_owed(payment),
        "disputed": payment.disputed_amount > 0,
    }
