"""Differences that reconciliation found: closed by an approver, with a reason, and logged."""

from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models.functions import Now

from payments.models import Drift
from sagas.currencies import with_currency
from staff.policy import Actor, decide
from staff.writes import Rejected, staff_write

__all__ = ["close_discrepancy", "in_words", "may_close_discrepancies"]


def may_close_discrepancies(user: User | AnonymousUser) -> bool:
    """Tell whether a user may close a discrepancy."""
    return decide(user, "close_discrepancy").allowed


def close_discrepancy(discrepancy: UUID, *, by: Actor, reason: str) -> None:
    """Close a discrepancy. No money is moved.

    The intention is in the log before, so no discrepancy is closed without an entry. Raises
    `NotPermitted` after logging the refusal, and `Rejected` if another person has closed it before.
    """
    known = Drift.objects.get(id=discrepancy)
    with staff_write(
        by,
        "close_discrepancy",
        via="admin",
        alias="payments",
        order_id=known.order_id,
        about=in_words(known),
        why=reason,
    ) as write:
        write.outcome = "The difference is closed. No money was moved."
        is_open = Drift.objects.filter(id=discrepancy, closed_at=None)
        if not is_open.update(closed_at=Now(), closed_by=by.get_username(), closed_why=reason):
            raise Rejected(
                f"Another person has closed {known.reference} before. Your reason was not saved."
            )


def in_words(discrepancy: Drift) -> str:
    """Return a discrepancy as one sentence."""
    ours = with_currency(discrepancy.ours, discrepancy.currency)
    theirs = with_currency(discrepancy.theirs, discrepancy.currency)
    kind = discrepancy.get_kind_display()
    return f"{discrepancy.reference}: {kind}; here {ours}, at the gateway {theirs}"
