"""Failed Celery tasks and the sagas they were about.

`sagas.celery.result_backend` counts the failures of one step with the same error in one row, which
names only the newest sagas. The inbox has the error of each saga, and so leads to its row.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

from django_celery_results.models import TaskResult

from console.partial_reader import PartialReader
from sagas import sql
from sagas.observability.error_pattern import failure_id
from sagas.storage.registry import get_service, service_names

__all__ = [
    "StepError",
    "count_of",
    "errors_of",
    "orders_of",
    "step_of",
    "tasks_about",
    "with_task_id",
]

# The task that runs steps.
RUN_STEP = "sagas.run_step"

# OFFSET 0 makes PostgreSQL use the index of migration 0004_failed_tasks_console first. Otherwise it
# would walk through all failures, newest first.
ABOUT = """
SELECT * FROM (SELECT * FROM django_celery_results_taskresult
                WHERE (meta::jsonb -> 'sagas') @> %(sagas)s::jsonb
                UNION
               SELECT * FROM django_celery_results_taskresult
                WHERE task_id = ANY(%(groups)s) OFFSET 0) about
 ORDER BY date_done DESC, id DESC LIMIT %(most)s
"""

ERRORS = "SELECT step, error FROM {inbox} WHERE saga = %(saga)s AND error <> ''"


# By the index of console's migration 0010_failed_task_ids.
OF_TASK = """
SELECT id FROM django_celery_results_taskresult
 WHERE (meta::jsonb -> 'tasks') @> %(tasks)s::jsonb LIMIT 1000
"""


class StepError(NamedTuple):
    """The error of one step of a saga, as its inbox row has it."""

    step: str
    error: str


def errors_of(order: UUID) -> list[StepError]:
    """Return the errors of a saga's steps in all services that answer."""
    reader = PartialReader()
    return [StepError(*row) for name in service_names() for row in _errors_in(reader, name, order)]


def tasks_about(order: UUID, errors: Iterable[StepError], *, most: int) -> list[TaskResult]:
    """Return the failed tasks of a saga, newest first, at most `most`.

    `errors` are those of its steps: a row that no longer names the saga is found by them.
    """
    groups = [failure_id(error, task=RUN_STEP, step=step) for step, error in errors]
    params = {"sagas": json.dumps([str(order)]), "groups": groups, "most": most}
    return list(TaskResult.objects.raw(ABOUT, params))


def orders_of(task: TaskResult) -> list[UUID]:
    """Return the newest sagas that a failed task was about."""
    orders = []
    for saga in _meta(task).get("sagas", ()):
        with suppress(ValueError):  # an unreadable message may hold anything in place of the id
            orders.append(UUID(saga))
    return orders


def count_of(task: TaskResult) -> int:
    """Return how many attempts failed like this. Rows of older releases are one attempt each."""
    return int(_meta(task).get("count", 1))


def step_of(task: TaskResult) -> str:
    """Return the step that failed; empty where the task ran none."""
    return str(_meta(task).get("step", ""))


def with_task_id(task_id: str) -> list[int]:
    """Return the keys of the failures that name a Celery task among their newest."""
    rows = sql.fetch("default", OF_TASK, {"tasks": json.dumps([task_id])})
    return [row[0] for row in rows]


def _meta(task: TaskResult) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(task.meta or "{}")
    return meta


def _errors_in(reader: PartialReader, name: str, order: UUID) -> list[tuple[Any, ...]]:
    service = get_service(name)
    statement = ERRORS.format(inbox=service.inbox)
    return reader.read(name, lambda: sql.fetch(service.alias, statement, {"saga": order}))
