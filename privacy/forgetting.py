"""Anonymises a customer in all three databases.

Each step commits alone and does nothing the second time, so a run that was interrupted is repeated.
The account is locked first, so that no order follows. The user name comes last, because a repeated
run finds the person by it.
"""

import re
from collections.abc import Collection
from typing import Any

import msgspec
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry as AdminLogEntry
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.db.models import Q, QuerySet
from django_celery_results.models import TaskResult

from orders.models import IdempotencyKey, Order
from privacy.customer import Customer, forgotten_name, orders_of, returns_of
from privacy.places import ANONYMISED, Place
from privacy.scrubbing import Scrubber
from returns.models import IdempotencyKey as ReturnKey
from returns.models import Return
from sagas.sql import to_json
from staff.access import end_access

__all__ = [
    "ARGUMENTS",
    "LOGIN_TABLES",
    "TEXTS",
    "OrderPlacedMeanwhile",
    "forget",
    "logins_as",
    "names_order",
]

SELECT = "SELECT {key}, {columns} FROM {table} WHERE {order} = ANY(%s) ORDER BY {key} FOR UPDATE"
UPDATE = "UPDATE {table} SET {changes} WHERE {key} = %s"

# Tables of django-axes. Only the first is in use; the others are written by other settings.
LOGIN_TABLES = (AccessAttempt, AccessFailureLog, AccessLog)

UUID_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Columns of the admin's history with texts.
HISTORY = ("object_repr", "change_message")

# Columns of failed tasks with texts. The first two are the arguments: messages of orders.
ARGUMENTS = ("task_args", "task_kwargs")
TEXTS = ("result", "traceback")


class OrderPlacedMeanwhile(Exception):
    """The customer placed an order or requested a return before the account was locked. It must
    end first.
    """


def forget(customer: Customer) -> dict[str, int]:
    """Anonymise a customer; return how many rows of each table changed.

    Raises OrderPlacedMeanwhile.
    """
    _lock_account(customer.user)
    scrubber = Scrubber(customer.words)
    changed: dict[str, int] = {}
    for place in ANONYMISED:
        changed[place.table] = sum(_anonymise(place, page, scrubber) for page in customer.pages())
    changed["orders_idempotencykey"], _ = IdempotencyKey.objects.filter(user=customer.user).delete()
    changed["returns_idempotencykey"], _ = ReturnKey.objects.filter(user=customer.user).delete()
    changed["django_celery_results_taskresult"] = _anonymise_failed_tasks(customer, scrubber)
    changed["django_admin_log"] = _anonymise_history(customer.user, scrubber)
    for model in LOGIN_TABLES:
        changed[model._meta.db_table], _ = logins_as(customer.user, model).delete()
    changed["auth_user"] = _anonymise_account(customer)
    return changed


def logins_as(user: User, model: type[Any]) -> QuerySet[Any]:
    """Return the logins with a user's name or e-mail address in a table of django-axes."""
    named = Q(username__iexact=user.get_username())
    if user.email:
        named |= Q(username__iexact=user.email)
    found: QuerySet[Any] = model.objects.filter(named)
    return found


def names_order(task: TaskResult, orders: Collection[str]) -> bool:
    """Tell whether the arguments of a failed task name one of the orders."""
    texts = " ".join(getattr(task, name) or "" for name in ARGUMENTS)
    return not set(UUID_PATTERN.findall(texts)).isdisjoint(orders)


def _lock_account(user: User) -> None:
    """Deactivate the account and end its tokens and sessions, unless an order of it is open.

    The lock on the user makes an order that is being placed wait, or be seen here.
    """
    with transaction.atomic():
        locked = User.objects.select_for_update().get(pk=user.pk)
        if Order.objects.filter(user=locked, ended_at=None).exists():
            raise OrderPlacedMeanwhile(
                "The customer has placed an order meanwhile. Repeat the command once it has ended."
            )
        if Return.objects.filter(user=locked, ended_at=None).exists():
            raise OrderPlacedMeanwhile(
                "The customer has requested a return meanwhile. Repeat the command once it has"
                " ended."
            )
        if locked.is_active or locked.has_usable_password():
            locked.is_active = False
            locked.set_unusable_password()
            locked.save(update_fields=["is_active", "password"])
        end_access(locked.pk)


def _anonymise(place: Place, orders: list[Any], scrubber: Scrubber) -> int:
    """Anonymise the rows of some orders in one table, in one transaction; return how many."""
    columns = (*place.documents, *place.texts)
    selected = ", ".join((*(f"{name}::text" for name in place.documents), *place.texts))
    statement = SELECT.format(key=place.key, columns=selected, table=place.table, order=place.order)
    changed = 0
    with transaction.atomic(using=place.alias), connections[place.alias].cursor() as cursor:
        cursor.execute(statement, [orders])
        for key, *values in cursor.fetchall():
            old = dict(zip(columns, values, strict=True))
            new = {name: _anonymous(place, name, value, scrubber) for name, value in old.items()}
            differing = [name for name in columns if new[name] != old[name]]
            if differing:
                changes = ", ".join(f"{name} = %s" for name in differing)
                update = UPDATE.format(table=place.table, changes=changes, key=place.key)
                cursor.execute(update, [*(new[name] for name in differing), key])
                changed += 1
    return changed


def _anonymous(place: Place, name: str, value: str | None, scrubber: Scrubber) -> str | None:
    """Return a column's value without the person; the same value if it has nothing personal."""
    if value is None:
        return None
    if name not in place.documents:
        return str(scrubber.column(name, value))
    document = msgspec.json.decode(value)
    anonymous = scrubber.document(document)
    return value if anonymous == document else to_json(anonymous)


def _anonymise_failed_tasks(customer: Customer, scrubber: Scrubber) -> int:
    """Empty the arguments that name the customer's orders, and replace words in other texts."""
    orders = {str(saga) for saga in (*customer.orders, *customer.returns)}
    changed = 0
    for task in TaskResult.objects.iterator(chunk_size=100):
        old = {name: getattr(task, name) for name in (*ARGUMENTS, *TEXTS)}
        new = {name: text and scrubber.text(text) for name, text in old.items()}
        if names_order(task, orders):
            new |= dict.fromkeys(ARGUMENTS, "")
        if new != old:
            changed += TaskResult.objects.filter(pk=task.pk).update(**new)
    return changed


def _anonymise_history(user: User, scrubber: Scrubber) -> int:
    """Replace the person in the history of Django's admin, such as the names of deleted tokens."""
    named = Q(content_type__app_label="auth", content_type__model="user", object_id=str(user.pk))
    for word in filter(None, (user.get_username(), user.email)):
        named |= Q(object_repr__icontains=word) | Q(change_message__icontains=word)
    changed = 0
    for entry in AdminLogEntry.objects.filter(named).iterator(chunk_size=500):
        old = {name: getattr(entry, name) for name in HISTORY}
        new = {name: scrubber.text(text) for name, text in old.items()}
        if new != old:
            changed += AdminLogEntry.objects.filter(pk=entry.pk).update(**new)
    return changed


def _anonymise_account(customer: Customer) -> int:
    """Anonymise the account, with its entries in the log of staff; return how many rows changed.

    The log has only that the name and the e-mail address of a customer changed: staff.people.
    """
    anonymous = forgotten_name(customer.user.pk)
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=customer.user.pk)
        sagas = {*orders_of(user), *returns_of(user)}
        if sagas != {*customer.orders, *customer.returns}:
            raise OrderPlacedMeanwhile(
                "A request placed an order or a return while the account was being locked. Repeat"
                " the command once it has ended."
            )
        if user.get_username() == anonymous and not (user.email or user.get_full_name()):
            return 0
        user.username = anonymous
        user.first_name = user.last_name = user.email = ""
        user.last_login = None
        if user.user_permissions.exists():
            user.user_permissions.clear()
        user.save(update_fields=["username", "first_name", "last_name", "email", "last_login"])
    return 1
