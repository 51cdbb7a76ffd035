"""Where Celery keeps the failures of tasks: to be looked at, and no more. What cannot be kept holds
up nothing.

Celery stores a failure before it acknowledges the message and before it calls the error callback;
after the loss of a child it does so in the worker's main process. An exception there would cost the
worker one place of its prefetch count for good, and with the last one it waits for nothing, for
ever.
"""

import logging
from typing import Any

from django.db import Error, connections, router
from django_celery_results.backends import DatabaseBackend

from sagas.celery.task_args import messages_given
from sagas.execution.retries import StepFailed

__all__ = ["FailureLog"]

# The arguments of a step that its error callback needs: they stand in the failed task's own
# message, not twice.
STEP = ("step", "plan", "messages")

logger = logging.getLogger(__name__)


class FailureLog(DatabaseBackend):
    """Celery's results in the database, as far as it can be reached."""

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        """Store a result, once more on a new connection if that fails, and never raise what the
        database raises.
        """
        try:
            return super().store_result(task_id, result, state, *args, **kwargs)
        except Error:
            self._disconnect()
        try:
            return super().store_result(task_id, result, state, *args, **kwargs)
        except Error as error:
            logger.warning(
                "That task %s has become %s could not be stored: %r", task_id, state, error
            )
            return result
        finally:
            self._disconnect()

    def mark_as_failure(self, task_id: str, exc: Any, *args: Any, **kwargs: Any) -> None:
        """Store a failure with its sagas, and call the error callbacks: those without arguments
        with the task's own.

        What was chained behind it never ran, so it has not failed: Celery would store the same once
        more for it.
        """
        if request := kwargs.get("request"):
            request.chain = None
            request.meta = {"sagas": _sagas(exc, request)}
            for callback in request.errbacks or ():
                callback["args"] = callback["args"] or list(request.args[: len(STEP)])
        super().mark_as_failure(task_id, exc, *args, **kwargs)

    def _disconnect(self) -> None:
        connection = connections[router.db_for_write(self.TaskModel)]
        if not connection.in_atomic_block:
            connection.close()


def _sagas(exc: Any, request: Any) -> list[str]:
    """Return the sagas that a failure is about: those that failed alone, or all that the task
    was given.
    """
    if isinstance(exc, StepFailed):
        return [str(failure.message.saga) for failure in exc.failures]
    given = messages_given(getattr(request, "task", None), getattr(request, "args", None))
    return [str(message.get("saga")) for message in given]
