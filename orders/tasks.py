"""Periodic tasks of orders, started by beat."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from api.resources.records import purge_records
from orders.models import IdempotencyKey

__all__ = ["purge_keys"]

# Twice the time that clients are promised, so that differences between clocks do not matter.
KEPT = timedelta(hours=48)


@shared_task(name="orders.purge_idempotency_keys")
def purge_keys() -> int:
    """Delete idempotency keys after their promised time; return how many."""
    return purge_records(IdempotencyKey, timezone.now() - KEPT)
