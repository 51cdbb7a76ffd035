"""Payments' own chores, by beat."""

from celery import shared_task

from payments.following import follow_once
from payments.reconciliation import next_window, reconcile

__all__ = ["follow", "reconcile_payments"]


@shared_task(name="payments.follow")
def follow() -> int:
    """Ask after payments that are over, where the gateway may know better."""
    return follow_once()


@shared_task(name="payments.reconcile")
def reconcile_payments() -> int:
    """Compare the gateway's statement with our payments since the last time; return how many differences are open."""
    since, until = next_window()
    return len(reconcile(since, until).open) if since < until else 0
