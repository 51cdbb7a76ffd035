"""The console's periodic tasks: act on confirmed runs, and delete old rows."""

import logging

from celery import shared_task

from console.bulk_actions.worker import work_once
from console.retention import purge

__all__ = ["forget", "work", "work_soon"]

logger = logging.getLogger(__name__)

# Rounds of one task, which together stay far below its time limit. The next task does the rest.
ROUNDS = 10


@shared_task(name="console.work")
def work() -> int:
    """Act on the items that are due; return how many.

    The rows are the truth, so the task may be lost, repeated or late.
    """
    total = 0
    for _ in range(ROUNDS):
        acted_on = work_once()
        total += acted_on
        if not acted_on:
            break
    return total


@shared_task(name="console.purge")
def forget() -> int:
    """Delete old drafts, runs, log entries and admin history; return how many rows."""
    return purge()


def work_soon() -> None:
    """Queue a task for confirmed items now, in the default queue of Celery.

    If the broker is down, beat queues one later.
    """
    try:
        work.apply_async()
    except Exception as error:  # the broker's client raises many types; the items are safe
        logger.warning(
            "Could not queue console.work; beat starts the confirmed run within seconds: %r", error
        )
