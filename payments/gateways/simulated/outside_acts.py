"""Acts of other people at the simulated gateway: refunds by hand, and disputes of customers.

Call these functions inside a transaction. They check no limit: the caller knows the charge.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone
from msgspec import Struct

from payments.gateways.base import DisputeStatus
from payments.gateways.simulated.ledger import SimulatedCharge, SimulatedDispute
from sagas.ids import uuid7

__all__ = ["ChargeToDispute", "ChargeToRefund", "open_disputes", "refund_by_hand"]

Kind = SimulatedCharge.Kind

# Visa gives a shop about this long to send its evidence.
TIME_TO_RESPOND = timedelta(days=9)


class ChargeToRefund(Struct, frozen=True, kw_only=True):
    """A charge of which a person refunds `amount`, in minor units."""

    charge_id: str
    order_id: UUID
    amount: int
    currency: str


class ChargeToDispute(ChargeToRefund, frozen=True, kw_only=True):
    """A charge of which the customer disputes `amount`.

    At `decided_at` the bank gives its `verdict`, won or lost. Without a time, only a person closes
    the dispute.
    """

    decided_at: datetime | None = None
    verdict: DisputeStatus | None = None


def refund_by_hand(charges: Sequence[ChargeToRefund]) -> None:
    """Write refunds that a person made, so they have no key of ours."""
    SimulatedCharge.objects.bulk_create(
        SimulatedCharge(
            kind=Kind.REFUND,
            key=uuid7().hex,
            order_id=charge.order_id,
            charge_id=charge.charge_id,
            amount=charge.amount,
            currency=charge.currency,
            by_hand=True,
        )
        for charge in charges
    )


def open_disputes(charges: Sequence[ChargeToDispute]) -> list[str]:
    """Open disputes, which withdraws their amounts. Return their ids."""
    now = timezone.now()
    disputes = [
        SimulatedDispute(
            id=f"dp_{uuid7().hex}",
            order_id=charge.order_id,
            charge_id=charge.charge_id,
            amount=charge.amount,
            currency=charge.currency,
            reason="fraudulent",
            respond_by=charge.decided_at or now + TIME_TO_RESPOND,
            decided_at=charge.decided_at,
            verdict=charge.verdict or "",
        )
        for charge in charges
    ]
    withdrawals = [
        SimulatedCharge(
            kind=Kind.DISPUTE,
            key=dispute.id,
            order_id=dispute.order_id,
            charge_id=dispute.charge_id,
            amount=dispute.amount,
            currency=dispute.currency,
        )
        for dispute in disputes
    ]
    SimulatedDispute.objects.bulk_create(disputes)
    SimulatedCharge.objects.bulk_create(withdrawals)
    return [dispute.id for dispute in disputes]
