"""The periodic tasks of payments, which beat sends."""

import logging

from celery import Task, shared_task

from payments.authorization_expiry import cancel_expiring_once
from payments.followup import follow_up_once
from payments.reconciliation import Budget, reconcile_scheduled
from payments.retention import purge_differences, purge_events, purge_reconciliations
from sagas.workers import offload

__all__ = [
    "expire_authorizations",
    "follow",
    "purge_results",
    "purge_webhook_events",
    "reconcile_payments",
]

logger = logging.getLogger(__name__)

# Seconds. The follow-up runs in the same thread of a process, so it waits no longer than this and
# the requests that are under way at the end.
RECONCILE_BUDGET = 10.0


@shared_task(name="payments.follow", bind=True)
def follow(self: Task) -> None:
    """Follow up payments that are over."""
    offload(self, follow_up_once)


@shared_task(name="payments.expire_authorizations")
def expire_authorizations() -> int:
    """Cancel the orders whose authorization expires soon; return how many."""
    return cancel_expiring_once()


@shared_task(name="payments.reconcile", bind=True)
def reconcile_payments(self: Task) -> None:
    """Compare the next parts of the gateways' statements with our payments.

    If some are left, send the next task, so that the follow-up does not wait for long. Beat sends
    one each minute as well.
    """
    offload(self, _reconcile)


def _reconcile() -> None:
    if reconcile_scheduled(lambda gateways: Budget(RECONCILE_BUDGET / gateways)):
        _send_next()


def _send_next() -> None:
    try:
        reconcile_payments.apply_async(queue="payments")
    except Exception as error:  # the broker's client raises many types; the cursor is stored
        logger.warning(
            "Could not queue payments.reconcile; beat continues the reconciliation within a "
            "minute: %r",
            error,
        )


@shared_task(name="payments.purge_webhook_events")
def purge_webhook_events() -> int:
    """Delete old events, all later than Stripe could repeat them; return how many."""
    return purge_events()


@shared_task(name="payments.purge_reconciliations")
def purge_results() -> int:
    """Delete old reconciliations and closed differences; return how many."""
    return purge_reconciliations() + purge_differences()
