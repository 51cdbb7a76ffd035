"""Failed tasks and the orders they were about. Celery keeps each failure; with it stand its
sagas (`sagas.celery.result_backend`).
"""

import json
from contextlib import suppress
from uuid import UUID

from django_celery_results.models import TaskResult

__all__ = ["orders_of", "tasks_about"]

# By the index of migration 0004_failed_tasks_console, and not, from the latest on, through all that
# ever failed: the inner query is a fence to the planner.
ABOUT = """
SELECT * FROM (SELECT * FROM django_celery_results_taskresult
                WHERE (meta::jsonb -> 'sagas') @> %(sagas)s::jsonb OFFSET 0) about
 ORDER BY id DESC LIMIT %(most)s
"""


def tasks_about(order: UUID, *, most: int) -> list[TaskResult]:
    """Return the tasks that failed for an order, the latest first."""
    return list(TaskResult.objects.raw(ABOUT, {"sagas": json.dumps([str(order)]), "most": most}))


def orders_of(task: TaskResult) -> list[UUID]:
    """Return the orders that a failed task was about."""
    kept, orders = json.loads(task.meta or "{}"), []
    for saga in kept.get("sagas", ()):
        with suppress(ValueError):  # what is no message names no saga, but is kept as it was said
            orders.append(UUID(saga))
    return orders
