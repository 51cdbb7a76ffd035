"""The money of one charge at Stripe: captured, given back, on the way back, and disputed."""

from datetime import UTC, datetime

import stripe

from payments.gateways.base import (
    Absent,
    BalanceAnswer,
    ChargeBalance,
    ChargeRequest,
    Dispute,
    DisputeStatus,
)
from payments.gateways.stripe import intents
from payments.gateways.stripe.account import Account
from payments.gateways.stripe.objects import id_of

__all__ = ["balance"]

UNFINISHED = {"pending", "requires_action"}

# https://docs.stripe.com/api/disputes/object#dispute_object-status
# `warning_*` are inquiries: they withdraw no money.
CLOSED = {"won": DisputeStatus.WON, "lost": DisputeStatus.LOST, "prevented": DisputeStatus.WON}


def balance(account: Account, request: ChargeRequest) -> BalanceAnswer:
    """Read a charge with its refunds and disputes."""
    charge_id = request.charge_id or _charge_of(account, request)
    if not charge_id:
        return Absent()

    charge = account.charge(charge_id)
    if not charge.captured:
        return Absent()
    refunds = account.refunds_of(charge_id)
    disputes = account.disputes_of(charge_id) if charge.disputed else []
    return ChargeBalance(
        charge_id=charge_id,
        captured=charge.amount_captured,
        refunded=sum(each.amount for each in refunds if each.status == "succeeded"),
        refund_pending=sum(each.amount for each in refunds if each.status in UNFINISHED),
        disputes=tuple(
            _dispute(each) for each in disputes if not each.status.startswith("warning")
        ),
    )


def _charge_of(account: Account, request: ChargeRequest) -> str:
    intent = intents.get_or_create(account, request)
    return id_of(intent.latest_charge) if intent and intent.latest_charge else ""


def _dispute(dispute: stripe.Dispute) -> Dispute:
    due_by = dispute.evidence_details.due_by
    return Dispute(
        id=dispute.id,
        amount=dispute.amount,
        status=CLOSED.get(dispute.status, DisputeStatus.OPEN),
        reason=dispute.reason,
        opened_at=datetime.fromtimestamp(dispute.created, UTC),
        respond_by=datetime.fromtimestamp(due_by, UTC) if due_by else None,
    )
