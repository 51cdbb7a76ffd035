"""The tasks that beat sends, and how often.

A second beat does no harm, because each task looks up in the database whether there is work.
"""

from typing import Any

__all__ = ["beat_schedule"]

# Seconds until a task expires. Celery compares it with the clock of the worker's host, which may be
# an hour ahead of beat's; with a shorter time that worker would discard every flush. With a longer
# time, an outage would leave too many tasks in the queues.
EXPIRES_AFTER = 2 * 3600

HOUR = 3600.0

SERVICES = ("orders", "payments", "inventory")


def beat_schedule(*, flush_seconds: float, stall_seconds: float) -> dict[str, dict[str, Any]]:
    """Return Celery's beat_schedule: flushes, released holds, re-drives and purges."""
    return {
        **{
            f"flush-{service}": _every(flush_seconds, "sagas.flush", service, queue=service)
            for service in SERVICES
        },
        **{
            f"release-{service}": _every(5, "sagas.release_held", service, queue=service)
            for service in SERVICES
        },
        "redrive": _every(max(1.0, stall_seconds / 6), "sagas.rescue", "orders", queue="orders"),
        "purge": _every(HOUR, "sagas.purge_ended", "orders", queue="orders"),
        "purge-idempotency-keys": _every(HOUR, "orders.purge_idempotency_keys", queue="orders"),
        "purge-logins": _every(HOUR, "api.purge_logins", queue="orders"),
        "console-work": _every(5, "console.work", queue="orders"),
        "console-purge": _every(HOUR, "console.purge", queue="orders"),
        "follow-payments": _every(5, "payments.follow", queue="payments"),
        "expire-authorizations": _every(60, "payments.expire_authorizations", queue="payments"),
        "reconcile-payments": _every(60, "payments.reconcile", queue="payments"),
        "audit-changes": _every(60, "audit.check_changes", queue="orders"),
        "purge-webhook-events": _every(HOUR, "payments.purge_webhook_events", queue="payments"),
    }


def _every(seconds: float, task: str, *args: str, queue: str) -> dict[str, Any]:
    return {
        "task": task,
        "schedule": seconds,
        "args": args,
        "options": {"queue": queue, "expires": EXPIRES_AFTER},
    }
