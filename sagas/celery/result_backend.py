"""Celery's result backend: stores failed tasks for operators, and never raises a database error.

Celery stores a failure before it acknowledges the message and before it calls the error callback.
After a child process was lost, the worker's main process stores it. An exception there would cost
the worker one slot of its prefetch count for good. A worker without free slots receives no message
any more.
"""

import logging
from typing import Any

from django.db import Error, connections, router
from django_celery_results.backends import DatabaseBackend

from sagas.celery import step_request
from sagas.execution.failures import StepFailed

__all__ = ["FailureLog"]

logger = logging.getLogger(__name__)


class FailureLog(DatabaseBackend):
    """Celery's results in the database. A result that cannot be stored is logged and dropped."""

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        """Store a result; after a database error, try once more on a new connection."""
        try:
            return super().store_result(task_id, result, state, *args, **kwargs)
        except Error:
            self._disconnect()

        try:
            return super().store_result(task_id, result, state, *args, **kwargs)
        except Error as error:
            logger.warning(
                "Could not store that task %s has become %s."
                " The list of failed tasks lacks it; its saga is not affected: %r",
                task_id,
                state,
                error,
            )
            return result
        finally:
            self._disconnect()

    def mark_as_failure(self, task_id: str, exc: Any, *args: Any, **kwargs: Any) -> None:
        """Store a failure with its sagas, and give its error callbacks the task's arguments."""
        if request := kwargs.get("request"):
            step_request.drop_chain(request)
            step_request.store_sagas(request, _failed_sagas(exc, request))
            step_request.copy_args_to_error_callbacks(request)
        super().mark_as_failure(task_id, exc, *args, **kwargs)

    def _disconnect(self) -> None:
        connection = connections[router.db_for_write(self.TaskModel)]
        if not connection.in_atomic_block:
            connection.close()


def _failed_sagas(exc: Any, request: Any) -> list[str]:
    """Return the sagas that the error names, else all sagas of the task's messages."""
    if isinstance(exc, StepFailed):
        return [str(failure.message.saga) for failure in exc.failures]
    return [str(message.get("saga")) for message in step_request.messages_of(request)]
