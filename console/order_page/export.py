"""An order's dossier as JSON: for a ticket, for a colleague, for a program. Nothing in it is
secret.

Left out is the address at which the customer confirms the payment: whoever has it could do so in
their stead.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from django.db.models import Model
from django.utils import timezone
from django_celery_results.models import TaskResult

from console.models import LogEntry
from console.order_page.order_detail import Dossier, Posted
from orders.models import Order
from sagas.definition.messages import to_json

__all__ = ["exported"]

# The keys under which the provider is asked: of use to nobody else. And what stands in every row of
# an order.
INTERNAL = {"charge_key", "refund_key", "saga", "saga_started_at"}
THE_CUSTOMERS = "url"

OF_TASK = ("task_id", "task_name", "worker", "date_done", "traceback")


def exported(dossier: Dossier, *, history: Iterable[LogEntry]) -> bytes:
    """Return a dossier as JSON in UTF-8, laid out. Amounts are in minor units, times in UTC."""
    found = {
        "exported_at": timezone.now(),
        "unreachable": dossier.unreachable,
        "order": _order(dossier.order),
        "plan": msgspec.to_builtins(dossier.plan),
        "timeline": [_row(event) for event in dossier.timeline],
        "payment": _row(dossier.payment) if dossier.payment else None,
        "reservations": [_row(reservation) for reservation in dossier.reservations],
        "sent": [_message(posted) for posted in dossier.sent],
        "received": [_message(posted) for posted in dossier.received],
        "failed_tasks": [_task(task) for task in dossier.failed],
        "actions": [_row(entry) for entry in history],
    }
    return msgspec.json.format(to_json(_discreet(found)).encode(), indent=2)


def _order(order: Order) -> dict[str, Any]:
    lines = [_row(line, without={"id", "order"}) for line in order.placed_lines]
    return {**_row(order, without={"plan"}), "user": order.user.get_username(), "lines": lines}


def _message(posted: Posted) -> dict[str, Any]:
    return {"service": posted.service, **_row(posted.row, without={"plan"})}


def _task(task: TaskResult) -> dict[str, Any]:
    return {name: getattr(task, name) for name in OF_TASK}


def _row(row: Model, *, without: Iterable[str] = ()) -> dict[str, Any]:
    left_out = INTERNAL | set(without)
    return {
        field.name: field.value_from_object(row)
        for field in row._meta.fields
        if field.name not in left_out
    }


def _discreet(found: Any) -> Any:
    """Return data without what is the customer's alone, however deep it lies."""
    match found:
        case dict():
            return {
                name: _discreet(value) for name, value in found.items() if name != THE_CUSTOMERS
            }
        case list():
            return [_discreet(one) for one in found]
    return found
