"""Failed Celery tasks and the orders they were about.

Celery stores each failure; `sagas.celery.result_backend` adds its sagas.
"""

import json
from contextlib import suppress
from uuid import UUID

from django_celery_results.models import TaskResult

__all__ = ["orders_of", "tasks_about"]

# OFFSET 0 makes PostgreSQL use the index of migration 0004_failed_tasks_console first. Otherwise it
# would walk through all failures, newest first.
ABOUT = """
SELECT * FROM (SELECT * FROM django_celery_results_taskresult
                WHERE (meta::jsonb -> 'sagas') @> %(sagas)s::jsonb OFFSET 0) about
 ORDER BY id DESC LIMIT %(most)s
"""


def tasks_about(order: UUID, *, most: int) -> list[TaskResult]:
    """Return the failed tasks of an order, newest first, at most `most`."""
    return list(TaskResult.objects.raw(ABOUT, {"sagas": json.dumps([str(order)]), "most": most}))


def orders_of(task: TaskResult) -> list[UUID]:
    """Return the orders that a failed task was about."""
    meta, orders = json.loads(task.meta or "{}"), []
    for saga in meta.get("sagas", ()):
        with suppress(ValueError):  # an unreadable message may hold anything in place of the id
            orders.append(UUID(saga))
    return orders
