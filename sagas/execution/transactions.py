"""Transactions that are run again after a transient database error."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, connections, transaction

from sagas.storage.sql import is_transient

__all__ = ["run_transaction"]

logger = logging.getLogger(__name__)

# Seconds between the attempts of a transaction. A deadlock, a failover or a restart is over by
# then, or Celery's retry takes over.
PAUSES = (0.05, 0.2, 1.0)

T = TypeVar("T")


def run_transaction(alias: str, work: Callable[[], T], *, step: str) -> T:
    """Run `work` in a transaction. After a transient error, run it again as a whole.

    `step` is for the log. Raises the error of the last attempt.
    """
    for pause in PAUSES:
        try:
            with transaction.atomic(using=alias):
                return work()
        except DatabaseError as error:
            if not is_transient(error):
                raise
            logger.warning(
                "A transaction of %s in database %r met a transient error; it runs again: %r",
                step,
                alias,
                error,
            )
            connections[alias].close_if_unusable_or_obsolete()
            time.sleep(pause)

    with transaction.atomic(using=alias):
        return work()
