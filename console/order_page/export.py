"""One saga in all its services as JSON, for a ticket or a program. It holds no secrets.

The address at which the customer confirms the payment is hidden, because anyone who has it could
confirm the payment.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from django.utils import timezone
from django_celery_results.models import TaskResult

from console.failures.tracebacks import count_of
from console.order_page.exported_rows import exported_row
from console.order_page.saga_detail import SagaDetail, ServiceRow
from sagas.admin.formatting import without_private
from sagas.definition.messages import to_json
from staff.models import LogEntry

__all__ = ["export_saga"]

TASK_FIELDS = ("task_id", "task_name", "worker", "date_done", "traceback")


def export_saga(detail: SagaDetail, *, history: Iterable[LogEntry]) -> bytes:
    """Return a saga as indented JSON in UTF-8. Amounts are in minor units, times in UTC.

    `unreachable` names the services whose rows are unknown, and left out.
    """
    content = {
        "exported_at": timezone.now(),
        "unreachable": detail.unreachable,
        **detail.exported_saga(),
        "plan": msgspec.to_builtins(detail.plan),
        "timeline": [exported_row(event) for event in detail.timeline],
        **detail.exported_services(),
        **{
            name: [exported_row(concern.row) for concern in concerns]
            for name, concerns in detail.concerns.items()
        },
        "sent": [_message(message) for message in detail.sent],
        "received": [_message(message) for message in detail.received],
        "failed_tasks": [_task(task) for task in detail.failed_tasks],
        "actions": [exported_row(entry) for entry in history],
    }
    compact = to_json(without_private(content)).encode()
    return msgspec.json.format(compact, indent=2)


def _message(message: ServiceRow) -> dict[str, Any]:
    return {"service": message.service, **exported_row(message.row, without={"plan"})}


def _task(task: TaskResult) -> dict[str, Any]:
    fields = {name: getattr(task, name) for name in TASK_FIELDS}
    return {**fields, "count": count_of(task)}
