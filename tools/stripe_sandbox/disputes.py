"""Disputes: a customer asks the bank for the money of a charge back.

https://docs.stripe.com/disputes/how-disputes-work
"""

from typing import Any

from tools.stripe_sandbox import refunds
from tools.stripe_sandbox.balance_transactions import enter_dispute, enter_dispute_return
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.currencies import require_step
from tools.stripe_sandbox.disputed_amounts import LOST, OPEN, disputed_amount
from tools.stripe_sandbox.errors import ApiError
from tools.stripe_sandbox.events import record_event
from tools.stripe_sandbox.pagination import page, retrieve_one
from tools.stripe_sandbox.records import Charge, Dispute, new_id

__all__ = ["list_all", "open_dispute", "proceed", "retrieve", "settle"]

RESPONSE_SECONDS = 9 * 24 * 3600
CLOSED = ("won", LOST, "warning_closed")

# The next statuses of each status. A `warning_*` is an inquiry: it withdraws no money unless it
# becomes a dispute. Closed disputes have no next status.
NEXT = {
    "warning_needs_response": ("warning_under_review", "warning_closed", "needs_response"),
    "warning_under_review": ("warning_closed", "needs_response"),
    "needs_response": ("under_review", "won", "lost"),
    "under_review": ("won", "lost"),
}


def open_dispute(
    call: Call, charge: Charge, *, amount: int | None, reason: str, status: str
) -> Dispute:
    """Dispute `amount` of a charge, or all that is left of it if the amount is None."""
    dispute = Dispute(
        id=new_id("du"),
        created=call.now,
        charge=charge.id,
        payment_intent=charge.payment_intent,
        amount=_amount(call, charge, amount),
        currency=charge.currency,
        reason=reason,
        status=status,
        due_by=call.now + RESPONSE_SECONDS,
    )
    charge.disputed = True
    call.store.save(charge)
    call.store.add(dispute)
    record_event(call, "charge.dispute.created", dispute)
    if status in OPEN:
        _withdraw(call, dispute)

    return dispute


def proceed(call: Call, dispute: Dispute, status: str) -> None:
    """Move a dispute on to its next status; raise ApiError for any other status."""
    if status not in NEXT.get(dispute.status, ()):
        raise ApiError(
            f"The dispute {dispute.id} has the status {dispute.status}, so it cannot become "
            f"{status}.",
            param="status",
        )

    was_inquiry = dispute.status not in OPEN
    dispute.status = status
    call.store.save(dispute)
    closed = status in CLOSED
    record_event(call, "charge.dispute.closed" if closed else "charge.dispute.updated", dispute)

    if was_inquiry and status in OPEN:
        _withdraw(call, dispute)
    if status == "won":
        enter_dispute_return(call, dispute)
        call.store.save(dispute)
        record_event(call, "charge.dispute.funds_reinstated", dispute)


def settle(call: Call, dispute: Dispute, outcome: str) -> None:
    """Decide an open dispute: won if the outcome is `succeeded`. Ignore a dispute in any other
    status.
    """
    if dispute.status in OPEN:
        proceed(call, dispute, "won" if outcome == "succeeded" else LOST)


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/disputes/{id}"""
    return retrieve_one(call, Dispute, id)


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/disputes"""
    filters = {name: call.form.text(name) for name in ("charge", "payment_intent")}
    return page(
        call,
        Dispute,
        "/v1/disputes",
        {name: [value] if value else [] for name, value in filters.items()},
    )


def _amount(call: Call, charge: Charge, wanted: int | None) -> int:
    """Return the amount to dispute. A customer may dispute a refunded amount, too."""
    if not charge.captured:
        raise ApiError("This charge is not captured, so nothing can be disputed.", param="charge")

    most = charge.amount_captured - disputed_amount(call.store, charge)
    amount = wanted or max(most - charge.amount_refunded, 0)
    if not 1 <= amount <= most:
        raise ApiError(
            f"The amount to dispute ({amount}) must be from 1 to {most}: captured, and not "
            "disputed yet.",
            param="amount",
        )

    require_step(amount, charge.currency)
    return amount


def _withdraw(call: Call, dispute: Dispute) -> None:
    """Withdraw the disputed amount, and stop the refunds that are on their way."""
    enter_dispute(call, dispute)
    call.store.save(dispute)
    record_event(call, "charge.dispute.funds_withdrawn", dispute)
    refunds.fail_pending(call, dispute.charge, "charge_for_pending_refund_disputed")
