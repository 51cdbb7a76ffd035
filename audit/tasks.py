"""The scheduled audit as a task, which beat sends."""

import logging

from celery import shared_task

from audit.scheduled import run_scheduled

__all__ = ["check_changes"]

logger = logging.getLogger(__name__)

# Seconds. With the page that is under way at the end, it stays well below the soft time limit of a
# task (40 s), and steps in the same queue wait no longer.
BUDGET = 10.0


@shared_task(name="audit.check_changes")
def check_changes() -> int:
    """Check the next pages of the scheduled audit; return how many.

    If some are left, send the next task, so that no worker is occupied for long. Beat sends one
    each minute as well.
    """
    progress = run_scheduled(BUDGET)
    if progress.unfinished:
        _send_next()
    return progress.pages


def _send_next() -> None:
    try:
        check_changes.apply_async(queue="orders")
    except Exception as error:  # the broker's client raises many types; the cursor is stored
        logger.warning(
            "Could not queue audit.check_changes; beat continues the audit within a minute: %r",
            error,
        )
