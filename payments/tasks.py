"""Payments' own chores, by beat."""

from celery import shared_task

from payments.following import follow_once

__all__ = ["follow"]


@shared_task(name="payments.follow")
def follow() -> int:
    """Ask after payments that are over, where the gateway may know better."""
    return follow_once()
