"""Orders' own chores, by beat."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from orders.idempotency import purge_idempotency_keys

__all__ = ["purge_keys"]

# Twice what clients are promised, so that neither clock matters.
KEPT = timedelta(hours=48)


@shared_task(name="orders.purge_idempotency_keys")
def purge_keys() -> int:
    """Forget the idempotency keys that nobody may rely on any more."""
    return purge_idempotency_keys(timezone.now() - KEPT)
