"""The periodic tasks of payments, which beat sends."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from payments.authorization_expiry import cancel_expiring_once
from payments.followup import follow_up_once
from payments.models import WebhookEvent
from payments.reconciliation import next_window, reconcile

__all__ = ["expire_authorizations", "follow", "purge_webhook_events", "reconcile_payments"]

# Stripe repeats an event for three days.
SHORTEST_EVENT_RETENTION_DAYS = 7


@shared_task(name="payments.follow")
def follow() -> int:
    """Follow up payments that are over; return how many."""
    return follow_up_once()


@shared_task(name="payments.expire_authorizations")
def expire_authorizations() -> int:
    """Cancel the orders whose authorization expires soon; return how many."""
    return cancel_expiring_once()


@shared_task(name="payments.reconcile")
def reconcile_payments() -> int:
    """Compare the gateway's statement with our payments since the last window.

    Return how many discrepancies are open.
    """
    since, until = next_window()
    return len(reconcile(since, until).open) if since < until else 0


@shared_task(name="payments.purge_webhook_events")
def purge_webhook_events() -> int:
    """Delete old events, all later than Stripe could repeat them; return how many."""
    days = max(settings.SAGA_RETENTION_DAYS, SHORTEST_EVENT_RETENTION_DAYS)
    received_before = timezone.now() - timedelta(days=days)
    deleted, _ = WebhookEvent.objects.filter(received_at__lt=received_before).delete()
    return deleted
