"""Transactions that are run again after a transient database error."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import connections, transaction

from sagas.execution import network_guard
from sagas.sql import DATABASE_ERRORS, is_lock_timeout, is_transient

__all__ = ["PAUSES", "run_transaction"]

logger = logging.getLogger(__name__)

# Seconds between the attempts of a transaction. A deadlock, a failover or a restart is over by
# then, or Celery's retry takes over.
PAUSES = (0.05, 0.2, 1.0)

T = TypeVar("T")


def run_transaction(
    alias: str, work: Callable[[], T], *, step: str, pauses: Sequence[float] = PAUSES
) -> T:
    """Run `work` in a transaction. After a transient error, run it again as a whole.

    `step` is for the log. `pauses` are the seconds before each further attempt. Raises the error of
    the last attempt. Raises a lock timeout at once, because the lock may stay for long, and the
    caller can go on with other messages.
    """
    for pause in pauses:
        try:
            with transaction.atomic(using=alias), network_guard.watch(step):
                return work()
        except DATABASE_ERRORS as error:
            if is_lock_timeout(error) or not is_transient(error):
                raise
            logger.warning(
                "A transaction of %s in database %r met a transient error; it runs again: %r",
                step,
                alias,
                error,
            )
            connections[alias].close_if_unusable_or_obsolete()
            time.sleep(pause)

    with transaction.atomic(using=alias), network_guard.watch(step):
        return work()
