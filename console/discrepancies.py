"""Differences that reconciliation found: closed by an approver, with a reason, and logged."""

from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from django.db.models.functions import Now

from console.models import CLOSE_DISCREPANCY, LogEntry
from payments.gateways.currencies import with_currency
from payments.models import Drift

__all__ = ["close_discrepancy", "in_words", "may_close_discrepancies"]

# The group of approvers has the first permission. An administrator may give the second to others.
PERMISSIONS = ("console.approve_run", "payments.change_drift")


def may_close_discrepancies(user: User | AnonymousUser) -> bool:
    """Tell whether a user may close a discrepancy."""
    return any(map(user.has_perm, PERMISSIONS))


def close_discrepancy(discrepancy: UUID, *, by: str, reason: str) -> bool:
    """Close a discrepancy and log it; False if another person has closed it before.

    The log entry commits first, so no discrepancy is closed without an entry.
    """
    with transaction.atomic(using="payments"):
        found = Drift.objects.select_for_update().get(id=discrepancy)
        if found.closed_at:
            return False

        LogEntry.objects.create(
            who=by,
            what=LogEntry.Kind.CLOSED,
            action=CLOSE_DISCREPANCY,
            order_id=found.order_id,
            about=in_words(found),
            why=reason,
            outcome="The difference is closed. No money was moved.",
        )
        Drift.objects.filter(id=discrepancy).update(
            closed_at=Now(), closed_by=by, closed_why=reason
        )
    return True


def in_words(discrepancy: Drift) -> str:
    """Return a discrepancy as one sentence."""
    ours = with_currency(discrepancy.ours, discrepancy.currency)
    theirs = with_currency(discrepancy.theirs, discrepancy.currency)
    kind = discrepancy.get_kind_display()
    return f"{discrepancy.reference}: {kind}; here {ours}, at the gateway {theirs}"
