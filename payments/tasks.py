"""Payments' own chores, by beat."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from payments.authorization_expiry import cancel_expiring_once
from payments.models import WebhookEvent
from payments.reconciliation import next_window, reconcile
from payments.refund_followup import follow_up_once

__all__ = ["expire_authorizations", "follow", "purge_webhook_events", "reconcile_payments"]


@shared_task(name="payments.follow")
def follow() -> int:
    """Ask after payments that are over, where the gateway may know better."""
    return follow_up_once()


@shared_task(name="payments.expire_authorizations")
def expire_authorizations() -> int:
    """Call off the orders whose authorization is about to run out."""
    return cancel_expiring_once()


@shared_task(name="payments.reconcile")
def reconcile_payments() -> int:
    """Compare the gateway's statement with our payments since the last time; return how many
    differences are open.
    """
    since, until = next_window()
    return len(reconcile(since, until).open) if since < until else 0


@shared_task(name="payments.purge_webhook_events")
def purge_webhook_events() -> int:
    """Forget events received long ago, longer than Stripe repeats them, which is three days;
    return how many.
    """
    kept = timedelta(days=max(settings.SAGA_RETENTION_DAYS, 7))
    deleted, _ = WebhookEvent.objects.filter(received_at__lt=timezone.now() - kept).delete()
    return deleted
