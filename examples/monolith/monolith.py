"""A saga in one file: an order takes money from an account and ships goods, or is cancelled.

- `python monolith.py migrate --run-syncdb`: create the tables.
- `python monolith.py place 70`: place an order for 70.
- `python monolith.py orders`: list the orders.
- `celery -A monolith worker --beat`: run the steps; kill it with -9 whenever you like.
"""

import os
import sys
from urllib.parse import urlsplit

import django
from celery import Celery
from django.apps import apps
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import models, transaction

# This file is a program, and also the Django app `monolith` that the program imports.
IS_PROGRAM = __name__ == "__main__"
if IS_PROGRAM:
    __name__ = "monolith"
    sys.modules[__name__] = sys.modules["__main__"]

DATABASE = urlsplit(os.environ["DATABASE_URL"])
SERVER = {"HOST": DATABASE.hostname, "PORT": DATABASE.port or "", "NAME": DATABASE.path[1:]}
LOGIN = {"USER": DATABASE.username, "PASSWORD": DATABASE.password or ""}

settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY", "only-for-this-example"),
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.postgres", "django_celery_results", "sagas", "monolith"],
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **SERVER, **LOGIN}},
    CELERY_BROKER_URL=os.environ["REDIS_URL"],
    SAGAS={"STALL_SECONDS": 5},
)
django.setup()

# --- The engine, and the tables: the imports need Django's settings ------------------------------
from sagas import Delivery, Event, Refusal, Saga, Step, action, start, undo
from sagas.celery import configure
from sagas.kinds import Fact, Money, SagaKind, register
from sagas.models import ServiceTables, TrackedSaga


class Messaging(ServiceTables, home=True): ...


class Account(models.Model):
    balance = models.IntegerField()


class Order(TrackedSaga):
    amount = models.IntegerField()
    status = models.CharField(max_length=20, default="placed")


@register(Order)
class OrderKind(SagaKind):
    """Tells the admin and the console what only this file knows of an order."""

    columns = ("Amount",)

    def facts(self, row: Order) -> list[Fact]:
        return [Fact("Amount", Money(row.amount, "eur")), Fact("Shipping", row.status)]


# `migrate` looks for the models of an app in its module `models`. Here it is this file.
apps.get_app_config("monolith").models_module = sys.modules[__name__]


# --- The saga ------------------------------------------------------------------------------------
class OrderPlaced(Event, frozen=True):
    type = "order.placed"
    amount: int


class Done(Event, frozen=True):
    type = "order.step_done"


class Declined(Refusal, frozen=True):
    type = "order.declined"


STEPS = Step("monolith.charge", undo="monolith.refund"), Step("monolith.ship", pivot=True)
PLACE = Saga("place", *STEPS, abort="monolith.cancel", started_by=OrderPlaced)


# --- Its steps -----------------------------------------------------------------------------------
@action("monolith.charge", refusal=Declined)
def charge(order: Delivery[OrderPlaced]) -> Done | Declined:
    """Take the money if there is enough. The step and its result commit together."""
    covered = Account.objects.filter(balance__gte=order.context.amount)
    if covered.update(balance=models.F("balance") - order.context.amount):
        return Done()
    return Declined(code="no_money", detail="The balance is too low.")


@undo("monolith.refund")
def refund(order: Delivery[OrderPlaced]) -> Done:
    """Give the money back, if it was taken."""
    if order.action_done:
        Account.objects.update(balance=models.F("balance") + order.context.amount)
    return Done()


@action("monolith.ship", refusal=Declined)
def ship(order: Delivery[OrderPlaced]) -> Done:
    """Ship the goods. From here on, the order is not cancelled any more."""
    Order.objects.filter(pk=order.saga).update(status="shipped")
    return Done()


@undo("monolith.cancel")
def cancel(order: Delivery[OrderPlaced]) -> Done:
    """End an order that was undone."""
    Order.objects.filter(pk=order.saga).update(status="cancelled")
    return Done()


# --- Celery, and the program ---------------------------------------------------------------------
app = Celery("monolith")
app.config_from_object("django.conf:settings", namespace="CELERY")
configure(app)


def place(amount: int) -> None:
    """Place an order. A shop does this in the transaction of its request."""
    with transaction.atomic():
        Account.objects.get_or_create(id=1, defaults={"balance": 100})
        start(PLACE, Order(amount=amount), OrderPlaced(amount=amount))


if IS_PROGRAM:
    match sys.argv[1:]:
        case ["place", amount]:
            place(int(amount))
        case ["orders"]:
            for row in Order.objects.order_by("created_at"):
                print(row.pk, row.amount, row.status)
        case _:
            execute_from_command_line(sys.argv)
