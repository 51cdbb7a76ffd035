"""The console's one chore: to work off what operators have confirmed. By beat, and at once when it is confirmed."""

import logging

from celery import shared_task

from console.runs import work_once

__all__ = ["work", "work_soon"]

logger = logging.getLogger(__name__)

# Rounds of one task, which together stay far below its time limit; what is left waits for the next.
ROUNDS = 10


@shared_task(name="console.work")
def work() -> int:
    """Act on rows that are due; return how many. Lost, repeated or late, it matters not: the rows decide."""
    done = 0
    for _ in range(ROUNDS):
        acted = work_once()
        done += acted
        if not acted:
            break
    return done


def work_soon() -> None:
    """Have confirmed rows worked off at once. Best effort: where the broker is down, beat does so later."""
    try:
        work.apply_async(queue="orders")
    except Exception as error:  # whatever the broker's client raises, the rows are safe where they are
        logger.warning("The run is not begun at once, beat does so within seconds: %r", error)
