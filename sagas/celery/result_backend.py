"""Celery's result backend: counts failed tasks for operators, and never raises a database error.

One row of django-celery-results stands for all failures of one step with the same error, however
often each saga is tried. Without that, a thousand stuck sagas wrote gigabytes a day.

Celery stores a failure before it acknowledges the message and before it calls the error callback.
After a child process was lost, the worker's main process stores it. An exception there would cost
the worker one slot of its prefetch count for good. A worker without free slots receives no message
any more.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from celery import states
from django.db import Error, connections, router
from django_celery_results.backends import DatabaseBackend

from sagas import sql
from sagas.celery import step_request
from sagas.execution.failures import Failure, StepFailed
from sagas.observability.error_pattern import failure_id

__all__ = ["FailureLog"]

logger = logging.getLogger(__name__)

# The newest sagas and tasks that a row names. The inbox has the error of every saga.
MOST_NAMED = 50

# Characters of each text that a row keeps, and of its traceback: the end has the error.
TEXT_LENGTH = 2_000
TRACEBACK_LENGTH = 10_000
# Columns of django-celery-results.
NAME_LENGTH, WORKER_LENGTH = 255, 100

# A single statement in a transaction of its own, so that workers that fail at the same moment wait
# for each other only while one row is written, and each of them is counted.
COUNT = """
INSERT INTO {table} AS old
       (task_id, status, task_name, task_args, task_kwargs, worker, content_type,
        content_encoding, result, traceback, meta, date_created, date_done)
VALUES (%(id)s, %(state)s, %(task)s, %(args)s, %(kwargs)s, %(worker)s, %(content_type)s,
        %(content_encoding)s, %(result)s, %(traceback)s, %(meta)s, now(), now())
ON CONFLICT (task_id) DO UPDATE
   SET task_args = excluded.task_args,
       task_kwargs = excluded.task_kwargs,
       worker = excluded.worker,
       result = excluded.result,
       traceback = excluded.traceback,
       date_done = GREATEST(old.date_done, excluded.date_done),
       meta = (excluded.meta::jsonb || jsonb_build_object(
           'count', (old.meta::jsonb ->> 'count')::bigint
                    + (excluded.meta::jsonb ->> 'count')::bigint,
           'sagas', {newest_sagas},
           'tasks', {newest_tasks}))::text
"""
NEWEST = """
(SELECT jsonb_agg(named.value ORDER BY named.place)
   FROM (SELECT value, min(place) AS place
           FROM jsonb_array_elements(
                    (excluded.meta::jsonb -> '{name}') || (old.meta::jsonb -> '{name}'))
                WITH ORDINALITY AS every (value, place)
          GROUP BY value ORDER BY 2 LIMIT {most}) named)
"""

OLD = "old.date_done < now() - make_interval(secs => %(seconds)s)"


class FailureLog(DatabaseBackend):
    """Failed tasks in the database, counted by step and error. A failure that cannot be stored is
    logged and dropped.
    """

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Count a failure; after a database error, try once more on a new connection.

        Celery's other states are stored as django-celery-results does.
        """

        def store() -> Any:
            if state not in states.EXCEPTION_STATES:
                return super(FailureLog, self).store_result(
                    task_id, result, state, traceback, request, **kwargs
                )
            for error, sagas in _failures(result, request):
                self._count(task_id, error, state, str(traceback or ""), request, sagas)
            return result

        try:
            return store()
        except Error:
            self._disconnect()

        try:
            return store()
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
        """Store a failure, and give its error callbacks the task's arguments."""
        if request := kwargs.get("request"):
            step_request.drop_chain(request)
            step_request.copy_args_to_error_callbacks(request)
        super().mark_as_failure(task_id, exc, *args, **kwargs)

    def cleanup(self) -> None:
        """Delete failures older than CELERY_RESULT_EXPIRES, counted from the last occurrence."""
        if not self.expires:
            return
        params = {"seconds": self.expires}
        sql.delete_in_batches(self._alias, self._table, OLD, params, order="date_done")

    def _count(
        self,
        task_id: str,
        error: Any,
        state: str,
        traceback: str,
        request: Any,
        sagas: Sequence[str],
    ) -> None:
        task, step = step_request.task_and_step(request)
        content_type, content_encoding, result = self.encode_content(_encoded(error))
        meta = {
            "count": max(1, len(sagas)),
            "sagas": list(sagas)[:MOST_NAMED],
            "tasks": [_text(task_id)],
            "step": _text(step),
            "children": [],
        }
        params = {
            "id": failure_id(_words(error), task=task, step=step, state=state),
            "state": state,
            "task": _text(task)[:NAME_LENGTH],
            "args": _text(getattr(request, "argsrepr", None)),
            "kwargs": _text(getattr(request, "kwargsrepr", None)),
            "worker": _text(getattr(request, "hostname", None))[:WORKER_LENGTH],
            "content_type": content_type,
            "content_encoding": content_encoding,
            "result": result,
            "traceback": _text(traceback[-TRACEBACK_LENGTH:], most=TRACEBACK_LENGTH),
            "meta": json.dumps(meta),
        }
        statement = COUNT.format(
            table=self._table,
            newest_sagas=NEWEST.format(name="sagas", most=MOST_NAMED),
            newest_tasks=NEWEST.format(name="tasks", most=MOST_NAMED),
        )
        sql.run(self._alias, statement, params)

    @property
    def _alias(self) -> str:
        return router.db_for_write(self.TaskModel)

    @property
    def _table(self) -> str:
        return str(self.TaskModel._meta.db_table)

    def _disconnect(self) -> None:
        connection = connections[self._alias]
        if not connection.in_atomic_block:
            connection.close()


def _failures(error: Any, request: Any) -> Iterable[tuple[Any, list[str]]]:
    """Yield each different error of a failed task, and its sagas.

    Steps report which sagas failed. Any other error is about all sagas of the task's messages.
    """
    if not isinstance(error, StepFailed):
        yield error, [_text(one.get("saga")) for one in step_request.messages_of(request)]
        return

    alike: dict[str, list[Failure]] = {}
    for failure in error.failures:
        alike.setdefault(failure_id(failure.error, task="", step=""), []).append(failure)
    for failures in alike.values():
        sagas = [str(failure.message.saga) for failure in failures]
        yield StepFailed(error.step, failures), sagas


def _words(error: Any) -> str:
    """Return the text that tells one failure from another: for a step, as its inbox row has it."""
    return error.failures[0].error if isinstance(error, StepFailed) else repr(error)


def _encoded(error: Any) -> dict[str, Any]:
    """Return an error as Celery encodes it, with one bounded text as its arguments."""
    kind = type(error)
    return {
        "exc_type": kind.__qualname__,
        "exc_message": [_text(error)],
        "exc_module": kind.__module__,
    }


def _text(value: object, *, most: int = TEXT_LENGTH) -> str:
    """Return a text that PostgreSQL accepts, at most so long."""
    if value is None:
        return ""
    text = str(value)[:most].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text.encode(errors="replace").decode()
