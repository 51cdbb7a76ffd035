"""The money of one charge at Stripe: captured, given back, on the way back, and disputed."""

from collections.abc import Sequence
from functools import cached_property

import stripe
from stripe import Charge, Refund

from payments.gateways.base import (
    Absent,
    BalanceAnswer,
    ChargeBalance,
    ChargeRequest,
    Declined,
    Dispute,
    DisputeStatus,
)
from payments.gateways.stripe import intents
from payments.gateways.stripe.account import Account
from payments.gateways.stripe.currencies import from_stripe
from payments.gateways.stripe.error_meanings import answer_to_error
from payments.gateways.stripe.objects import id_of, time_of

__all__ = ["FAILED", "UNFINISHED", "ChargeMoney", "balance", "read"]

# https://docs.stripe.com/api/refunds/object#refund_object-status
UNFINISHED = {"pending", "requires_action"}
FAILED = {"failed", "canceled"}

# https://docs.stripe.com/api/disputes/object#dispute_object-status. Any other status is open.
CLOSED = {"won": DisputeStatus.WON, "lost": DisputeStatus.LOST, "prevented": DisputeStatus.WON}

# Inquiries of a bank withdraw no money, unless they become disputes under the same id:
# https://docs.stripe.com/disputes/how-disputes-work#inquiries
INQUIRY = "warning_"

# Stripe keeps the deadline of a dispute whose evidence it has. Then no more is wanted.
WANTS_EVIDENCE = {"needs_response", "appeal_needs_response"}


class ChargeMoney:
    """A charge with its refunds and disputes, as Stripe has just sent them. Newest first."""

    def __init__(
        self, charge: Charge, refunds: Sequence[Refund], disputes: Sequence[stripe.Dispute]
    ) -> None:
        self.charge = charge
        self.refunds = refunds
        self.disputes = [each for each in disputes if not each.status.startswith(INQUIRY)]

    @property
    def is_captured(self) -> bool:
        """Whether the charge has taken money. The flag alone is also set while a bank decides."""
        return self.charge.captured and self.charge.status == "succeeded"

    @cached_property
    def balance(self) -> ChargeBalance:
        """The balance, in minor units of ISO 4217."""
        return ChargeBalance(
            charge_id=self.charge.id,
            captured=from_stripe(self.charge.amount_captured, self.charge.currency),
            refunded=self._sum_of({"succeeded"}),
            refund_pending=self._sum_of(UNFINISHED),
            disputes=tuple(_dispute(each) for each in self.disputes),
        )

    def _sum_of(self, statuses: set[str]) -> int:
        units = sum(each.amount for each in self.refunds if each.status in statuses)
        return from_stripe(units, self.charge.currency)


def read(account: Account, charge_id: str) -> ChargeMoney:
    """Read a charge with its refunds and disputes.

    The flag `disputed` stays set after a dispute has ended, so other charges need no list.
    """
    charge = account.charge(charge_id)
    disputes = account.disputes_of(charge_id) if charge.disputed else []
    return ChargeMoney(charge, account.refunds_of(charge_id), disputes)


def balance(account: Account, request: ChargeRequest) -> BalanceAnswer:
    """Return the balance of a charge; `Absent` if nothing was captured."""
    charge_id = request.charge_id or _charge_of(account, request)
    if not charge_id:
        return Absent()

    money = read(account, charge_id)
    return money.balance if money.is_captured else Absent()


def _charge_of(account: Account, request: ChargeRequest) -> str:
    """Return the id of a request's charge; empty if Stripe has none, or refuses such a charge."""
    try:
        intent = intents.get_or_create(account, request)
    except stripe.StripeError as error:
        if isinstance(answer_to_error(error), Declined):
            return ""
        raise
    return id_of(intent.latest_charge) if intent and intent.latest_charge else ""


def _dispute(dispute: stripe.Dispute) -> Dispute:
    wants_evidence = dispute.status in WANTS_EVIDENCE
    due_by = dispute.evidence_details.due_by if wants_evidence else None
    return Dispute(
        id=dispute.id,
        amount=from_stripe(dispute.amount, dispute.currency),
        status=CLOSED.get(dispute.status, DisputeStatus.OPEN),
        reason=dispute.reason,
        opened_at=time_of(dispute.created),
        respond_by=time_of(due_by) if due_by else None,
    )
