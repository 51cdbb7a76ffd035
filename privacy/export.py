"""All data held about a customer, as one JSON file."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from django.db import connections
from django.utils import timezone
from django_celery_results.models import TaskResult
from knox.models import AuthToken

from privacy.customer import Customer, sessions_of
from privacy.forgetting import ARGUMENTS, LOGIN_TABLES, TEXTS, logins_as, names_order
from privacy.places import ANONYMISED, KEPT, Place
from privacy.scrubbing import Scrubber
from sagas.sql import to_json
from services import ALIASES
from staff.models import LogEntry

__all__ = ["export", "write_export"]

ROWS = "SELECT to_jsonb(held) FROM {table} held WHERE {order} = ANY(%s) ORDER BY {key}"

# Secrets, and the address at which a payment can be confirmed. They are no data for the customer.
SECRET = frozenset({"password", "digest", "url"})

# Columns that name members of staff. They are data of other people.
OF_STAFF = frozenset({"who", "approver", "address", "by", "closed_by"})
LEFT_OUT = SECRET | OF_STAFF | {"hash"}

IDEMPOTENCY_KEYS = Place(alias="default", table="orders_idempotencykey", order="order_id")
RETURN_KEYS = Place(alias=ALIASES["returns"], table="returns_idempotencykey", order="return_id")
STAFF_LOG = Place(alias="default", table="console_logentry", order="order_id")


def write_export(customer: Customer, path: Path) -> None:
    """Write the export to a new file that only this host's user can read.

    Raises OSError, such as FileExistsError. The whole file is on the disk when this returns.
    """
    content = msgspec.json.format(to_json(export(customer)).encode(), indent=2)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()
        raise


def export(customer: Customer) -> dict[str, Any]:
    """Return all that the three databases have about a customer, by table."""
    user = customer.user
    name = user.get_username()
    held: dict[str, Any] = {
        "exported_at": timezone.now(),
        "auth_user": _values([user]),
        "groups": list(user.groups.values_list("name", flat=True)),
        "knox_authtoken": _values(AuthToken.objects.filter(user=user)),
        "django_session": [{"expires": session.expire_date} for session in sessions_of(user)],
        "django_celery_results_taskresult": failed_tasks_naming(customer),
        "staff_log_of_the_account": _values(
            LogEntry.objects.filter(subject__in=(name, f"user {user.pk}"))
        ),
    }
    for model in LOGIN_TABLES:
        held[model._meta.db_table] = _values(logins_as(user, model))
    for place in (*ANONYMISED, *KEPT, IDEMPOTENCY_KEYS, RETURN_KEYS, STAFF_LOG):
        held[place.table] = [row for page in customer.pages() for row in _rows(place, page)]
    return held


def failed_tasks_naming(customer: Customer) -> list[dict[str, Any]]:
    """Return the texts of failed tasks that name the person.

    Arguments that name an order are left out, because they may have orders of other people too.
    """
    scrubber = Scrubber(customer.words)
    orders = {str(saga) for saga in (*customer.orders, *customer.returns)}
    found = []
    for task in TaskResult.objects.iterator(chunk_size=100):
        has_order = names_order(task, orders)
        columns = TEXTS if has_order else (*ARGUMENTS, *TEXTS)
        texts = [getattr(task, name) or "" for name in columns]
        named = [text for text in texts if scrubber.text(text) != text]
        if named or has_order:
            found.append({"task_id": task.task_id, "task": task.task_name, "texts": named})
    return found


def _rows(place: Place, orders: list[Any]) -> list[dict[str, Any]]:
    statement = ROWS.format(table=place.table, order=place.order, key=place.key)
    with connections[place.alias].cursor() as cursor:
        cursor.execute(statement, [orders])
        return [_without_secrets(msgspec.json.decode(_text(row))) for (row,) in cursor.fetchall()]


def _text(row: Any) -> str:
    return row if isinstance(row, str) else to_json(row)


def _without_secrets(value: Any) -> Any:
    match value:
        case dict():
            return {
                name: _without_secrets(item) for name, item in value.items() if name not in LEFT_OUT
            }
        case list():
            return [_without_secrets(item) for item in value]
    return value


def _values(rows: Iterable[Any]) -> list[dict[str, Any]]:
    return [
        {
            field.name: field.value_from_object(row)
            for field in row._meta.fields
            if field.name not in LEFT_OUT
        }
        for row in rows
    ]
