"""A saga that waits for a person: a large order ships once it is approved. `packing/` packs it.

- `python approval.py migrate --run-syncdb`: create the tables.
- `python approval.py place 700`: place an order for 700.
- `python approval.py orders`: list the orders.
- `python approval.py approve ID gift`: approve an order, with a note for the packers.
- `python approval.py refuse ID`: refuse an order. Its money goes back.
- `celery -A approval worker --beat`: run the steps; kill it with -9 whenever you like.
"""

import os
import sys
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

import django
import msgspec
from celery import Celery
from django.apps import apps
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import models, transaction

# This file is a program, and also the Django app `approval` that the program imports.
IS_PROGRAM = __name__ == "__main__"
if IS_PROGRAM:
    __name__ = "approval"
    sys.modules[__name__] = sys.modules["__main__"]

DATABASE = urlsplit(os.environ["DATABASE_URL"])
SERVICES = ["approval", "packing"]

settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY", "only-for-this-example"),
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.postgres", "django_celery_results", "sagas", *SERVICES],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": DATABASE.hostname,
            "PORT": DATABASE.port or "",
            "USER": DATABASE.username,
            "PASSWORD": DATABASE.password or "",
            "NAME": DATABASE.path[1:],
        }
    },
    CELERY_BROKER_URL=os.environ["REDIS_URL"],
    SAGAS={"STALL_SECONDS": 5},
)
django.setup()

# --- The engine, and the tables: the imports need Django's settings ------------------------------
from sagas import (
    Delivery,
    Event,
    From,
    Parallel,
    Refusal,
    Saga,
    Step,
    Wait,
    action,
    signal,
    start,
    undo,
    wait,
)
from sagas.celery import configure
from sagas.models import ServiceTables, TrackedSaga


class Messaging(ServiceTables, home=True): ...


class Account(models.Model):
    balance = models.IntegerField()


class Order(TrackedSaga):
    amount = models.IntegerField()
    status = models.CharField(max_length=20, default="placed")
    note = models.CharField(max_length=100)


apps.get_app_config("approval").models_module = sys.modules[__name__]


# --- The saga ------------------------------------------------------------------------------------
class OrderPlaced(Event, frozen=True):
    type = "order.placed"
    amount: int


class Done(Event, frozen=True):
    type = "order.step_done"


class Approved(Event, frozen=True):
    type = "order.approved"
    note: str


class Declined(Refusal, frozen=True):
    type = "order.declined"


def is_large(placed: OrderPlaced) -> bool:
    """Tell whether an order needs an approval. The plan of another order has no such step."""
    return placed.amount >= 500


PLACE = Saga(
    "place",
    Parallel(
        Step("approval.charge", undo="approval.refund"),
        Step("packing.pack", undo="packing.unpack"),
    ),
    Wait("approval.review", when=is_large),
    Step("approval.ship", pivot=True),
    abort="approval.cancel",
    started_by=OrderPlaced,
)


# --- Its steps -----------------------------------------------------------------------------------
@action("approval.charge", refusal=Declined)
def charge(order: Delivery[OrderPlaced]) -> Done | Declined:
    """Take the money if there is enough."""
    covered = Account.objects.filter(balance__gte=order.context.amount)
    if covered.update(balance=models.F("balance") - order.context.amount):
        return Done()
    return Declined(code="no_money", detail="The balance is too low.")


@undo("approval.refund")
def refund(order: Delivery[OrderPlaced]) -> Done:
    """Give the money back, if it was taken."""
    if order.action_done:
        Account.objects.update(balance=models.F("balance") + order.context.amount)
    return Done()


# The saga waits without a message. The first answer counts; without one, the wait expires.
wait(
    "approval.review",
    answer=Approved,
    refusal=Declined,
    expires=timedelta(days=3),
    expired=Declined(code="not_approved", detail="The order was not approved in three days."),
)


class ToShip(msgspec.Struct):
    """The context of the last step: the answer to the wait, or None for a small order."""

    approval: Annotated[Approved | None, From("approval.review")]


@action("approval.ship", refusal=Declined)
def ship(order: Delivery[ToShip]) -> Done:
    """Ship the goods, with the note of the person who approved the order."""
    approval = order.context.approval
    note = approval.note if approval else ""
    Order.objects.filter(pk=order.saga).update(status="shipped", note=note)
    return Done()


@undo("approval.cancel")
def cancel(order: Delivery[OrderPlaced]) -> Done:
    """End an order that was undone."""
    Order.objects.filter(pk=order.saga).update(status="cancelled")
    return Done()


# --- Celery, and the program ---------------------------------------------------------------------
app = Celery("approval")
app.config_from_object("django.conf:settings", namespace="CELERY")
configure(app)


def place(amount: int) -> None:
    """Place an order, in one transaction with the account that it needs."""
    with transaction.atomic():
        Account.objects.get_or_create(id=1, defaults={"balance": 1000})
        start(PLACE, Order(amount=amount), OrderPlaced(amount=amount))


def answer(order: str, event: Event) -> None:
    """Answer the review of an order, and print whether the answer counts."""
    result = signal(Order.objects.get(pk=order), "approval.review", event, by="shell")
    print(result.value)


if IS_PROGRAM:
    match sys.argv[1:]:
        case ["place", amount]:
            place(int(amount))
        case ["approve", order, note]:
            answer(order, Approved(note=note))
        case ["refuse", order]:
            answer(order, Declined(code="refused", detail="A person refused the order."))
        case ["orders"]:
            for row in Order.objects.order_by("created_at"):
                print(row.pk, row.amount, row.status, row.note)
        case _:
            execute_from_command_line(sys.argv)
