"""The console's chores, by beat: to work off what operators have confirmed, and to forget what
is old.
"""

import logging

from celery import shared_task

from console.bulk_actions.runs import work_once
from console.retention import purge

__all__ = ["forget", "work", "work_soon"]

logger = logging.getLogger(__name__)

# Rounds of one task, which together stay far below its time limit; what is left waits for the next.
ROUNDS = 10


@shared_task(name="console.work")
def work() -> int:
    """Act on rows that are due; return how many. Lost, repeated or late, it matters not: the
    rows decide.
    """
    done = 0
    for _ in range(ROUNDS):
        acted = work_once()
        done += acted
        if not acted:
            break
    return done


@shared_task(name="console.purge")
def forget() -> int:
    """Forget drafts, runs and the oldest of the log; return how many rows."""
    return purge()


def work_soon() -> None:
    """Have confirmed rows worked off at once. Best effort: where the broker is down, beat does
    so later.
    """
    try:
        work.apply_async(queue="orders")
    except (
        Exception
    ) as error:  # whatever the broker's client raises, the rows are safe where they are
        logger.warning("The run is not begun at once, beat does so within seconds: %r", error)
