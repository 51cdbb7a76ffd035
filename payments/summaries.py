"""The money of orders, in short: for the API of orders, which must not import payments.

The setting PAYMENT_SUMMARIES names `payment_summaries`.
"""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet

from payments.models import PartialRefund, Payment
from payments.partial_refunds import owed_parts

__all__ = [
    "known_captured",
    "known_owed",
    "partial_refund_summaries",
    "payment_summaries",
    "with_owed_parts",
]

Status = Payment.Status

# The gateway may have captured money of such a payment without our knowing.
UNDECIDED = frozenset({Status.PENDING, Status.AUTHORIZED})


def payment_summaries(orders: Collection[UUID]) -> Mapping[UUID, Mapping[str, Any]]:
    """Return the summaries of the payments of some orders by order id, in one query.

    An order without a payment is missing. Amounts are in minor units.
    """
    payments = with_owed_parts(Payment.objects.filter(order_id__in=orders))
    return {payment.order_id: _summary(payment) for payment in payments}


def partial_refund_summaries(sagas: Collection[UUID]) -> Mapping[UUID, Mapping[str, Any]]:
    """Return the summaries of the partial refunds of some sagas by saga id, in one query.

    A saga whose refund was not asked for yet is missing. Amounts are in minor units of `currency`:
    `asked_amount` is `refunded_amount` and `covered_amount` once the `status` is `succeeded`.
    """
    refunds = PartialRefund.objects.filter(id__in=sagas)
    return {refund.id: _refund_summary(refund) for refund in refunds}


def known_captured(payment: Payment) -> int | None:
    """Return the captured amount in minor units; None while it is not known."""
    return None if payment.status in UNDECIDED else payment.captured


def with_owed_parts(payments: QuerySet[Payment]) -> QuerySet[Payment]:
    """Add the owed amounts of failed parts to payments, for `known_owed`."""
    return payments.annotate(owed_parts=owed_parts(OuterRef("order_id")))


def known_owed(payment: Payment) -> int | None:
    """Return the amount in minor units that is to be given back; None while it is not known.

    An undone payment has all of it in `owed_amount`; else failed parts may be owed.
    """
    if payment.status in UNDECIDED:
        return None
    return payment.owed_amount or getattr(payment, "owed_parts", 0)


def _refund_summary(refund: PartialRefund) -> dict[str, Any]:
    is_done = refund.status == PartialRefund.Status.SUCCEEDED
    covered = refund.asked_amount - refund.refunded_amount if is_done else refund.covered_amount
    return {
        "status": refund.status,
        "asked_amount": refund.asked_amount,
        "refunded_amount": refund.refunded_amount,
        "covered_amount": covered,
        "currency": refund.currency,
    }


def _summary(payment: Payment) -> dict[str, Any]:
    return {
        "status": payment.status,
        "amount": payment.amount,
        "captured_amount": known_captured(payment),
        "refunded_amount": payment.refunded_amount,
        "owed_amount": known_owed(payment),
        "paid_otherwise_amount": payment.paid_otherwise_amount,
        "disputed": payment.disputed_amount > 0,
    }
