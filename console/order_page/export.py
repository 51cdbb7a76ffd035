"""One order in all its services as JSON, for a ticket or a program. It holds no secrets.

The address at which the customer confirms the payment is left out, because anyone who has it could
confirm the payment.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from django.db.models import Model
from django.utils import timezone
from django_celery_results.models import TaskResult

from console.models import LogEntry
from console.order_page.order_detail import OrderDetail, ServiceRow
from orders.models import Order
from sagas.definition.messages import to_json

__all__ = ["export_order"]

# Idempotency keys for the provider, and columns that repeat in every row of an order.
INTERNAL = {"charge_key", "refund_key", "saga", "saga_started_at"}
CONFIRMATION_ADDRESS = "url"

TASK_FIELDS = ("task_id", "task_name", "worker", "date_done", "traceback")


def export_order(detail: OrderDetail, *, history: Iterable[LogEntry]) -> bytes:
    """Return an order as indented JSON in UTF-8. Amounts are in minor units, times in UTC.

    `unreachable` names the services whose rows are unknown, and left out.
    """
    content = {
        "exported_at": timezone.now(),
        "unreachable": detail.unreachable,
        "order": _order(detail.order),
        "plan": msgspec.to_builtins(detail.plan),
        "timeline": [_row(event) for event in detail.timeline],
        **_of_services(detail),
        "findings": [_row(finding) for finding in detail.findings],
        "sent": [_message(message) for message in detail.sent],
        "received": [_message(message) for message in detail.received],
        "failed_tasks": [_task(task) for task in detail.failed_tasks],
        "actions": [_row(entry) for entry in history],
    }
    compact = to_json(_without_addresses(content)).encode()
    return msgspec.json.format(compact, indent=2)


def _of_services(detail: OrderDetail) -> dict[str, Any]:
    """Return the rows of payments and inventory. Those of an unreachable service are left out."""
    of_payments = {
        "payment": _row(detail.payment) if detail.payment else None,
        "disputes": [_row(dispute) for dispute in detail.disputes],
        "discrepancies": [_row(discrepancy) for discrepancy in detail.discrepancies],
    }
    of_inventory = {"reservations": [_row(reservation) for reservation in detail.reservations]}
    return {
        **(of_payments if "payments" not in detail.unreachable else {}),
        **(of_inventory if "inventory" not in detail.unreachable else {}),
    }


def _order(order: Order) -> dict[str, Any]:
    lines = [_row(line, without={"id", "order"}) for line in order.placed_lines]
    return {**_row(order, without={"plan"}), "user": order.user.get_username(), "lines": lines}


def _message(message: ServiceRow) -> dict[str, Any]:
    return {"service": message.service, **_row(message.row, without={"plan"})}


def _task(task: TaskResult) -> dict[str, Any]:
    return {name: getattr(task, name) for name in TASK_FIELDS}


def _row(row: Model, *, without: Iterable[str] = ()) -> dict[str, Any]:
    left_out = INTERNAL | set(without)
    return {
        field.name: field.value_from_object(row)
        for field in row._meta.fields
        if field.name not in left_out
    }


def _without_addresses(data: Any) -> Any:
    """Return data without the customer's confirmation address, at any depth."""
    match data:
        case dict():
            return {
                name: _without_addresses(value)
                for name, value in data.items()
                if name != CONFIRMATION_ADDRESS
            }
        case list():
            return [_without_addresses(item) for item in data]
    return data
