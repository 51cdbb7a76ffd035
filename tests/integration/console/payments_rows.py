"""Payments, disputes and discrepancies as rows, in the states that the gateway may leave them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from payments.models import Dispute, Drift, Inbox, Payment
from sagas.ids import uuid7

__all__ = ["capture_waits", "discrepancy", "dispute", "owed", "payment"]

CAPTURED = {Payment.Status.CAPTURED, Payment.Status.REFUNDED}


def payment(order: UUID | None = None, *, ago: float = 0, **fields: Any) -> Payment:
    """Insert a payment, last changed some seconds ago: pending unless another status is given."""
    order = order or uuid7()
    status = fields.get("status", Payment.Status.PENDING)
    row = {
        "order_id": order,
        "amount": 1_250,
        "currency": "eur",
        "payment_method": "pm_card_visa",
        "charge_id": f"ch_{order}" if status in CAPTURED else None,
        "charge_key": f"c{order}",
        "refund_key": f"r{order}",
    }
    written = Payment.objects.create(**{**row, **fields})
    at = timezone.now() - timedelta(seconds=ago)
    Payment.objects.filter(id=written.id).update(created_at=at, updated_at=at)
    written.refresh_from_db()
    return written


def owed(order: UUID | None = None, **fields: Any) -> Payment:
    """Insert a payment whose order has ended, and whose money is not back."""
    return payment(order, **{"status": "captured", "owed_amount": 1_250, **fields})


def dispute(of: Payment, **fields: Any) -> Dispute:
    """Insert a dispute of the whole payment: open unless another status is given."""
    row = {
        "id": f"dp_{of.order_id}",
        "order_id": of.order_id,
        "charge_id": of.charge_id,
        "amount": of.amount,
        "currency": of.currency,
        "status": "open",
        "reason": "fraudulent",
        "opened_at": timezone.now(),
    }
    return Dispute.objects.create(**{**row, **fields})


def discrepancy(order: UUID | None = None, **fields: Any) -> Drift:
    """Insert an open difference from the gateway's statement."""
    row = {
        "kind": "amount",
        "reference": f"ch_{order or uuid7()}",
        "order_id": order,
        "ours": 1_250,
        "theirs": 500,
        "currency": "eur",
        "closed_by": "",
        "closed_why": "",
    }
    return Drift.objects.create(**{**row, **fields})


def capture_waits(order: UUID) -> None:
    """Insert a capture that was requested, and whose answer was lost."""
    now = timezone.now()
    Inbox.objects.create(
        saga=order,
        saga_started_at=now,
        step="payments.capture",
        state="waiting",
        attempts=2,
        error="no answer",
        send_at=now + timedelta(minutes=1),
    )
