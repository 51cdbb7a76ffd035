"""A worker's consumer, which checks the signature of messages for tasks that it does not know.

Celery stores a failed task for each such message. Without the check, any client of the broker could
fill the table of failed tasks with as many names as it likes.
"""

import logging
from typing import Any

from celery.worker import consumer

from sagas.celery.signing import has_valid_signature, log_discarded

__all__ = ["Consumer"]

logger = logging.getLogger(__name__)


class Consumer(consumer.Consumer):
    """Celery's consumer, which stores no failure of a message that none of our keys has signed."""

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Store the failure of a signed message, such as one of a newer release. Discard others.

        Messages of Celery's old protocol name their task in the body, and are never signed.
        """
        name = message.headers.get("task")
        if name is not None and has_valid_signature(message, body):
            super().on_unknown_task(body, message, exc)
            return

        log_discarded(message, repr(name))
        errors = self.connection_errors  # type: ignore[attr-defined]  # celery is typed in part
        message.reject_log_error(logger, errors)
