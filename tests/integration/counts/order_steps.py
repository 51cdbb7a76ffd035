"""Carry a saga's messages from the broker to the tasks, and count them and their statements."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

from django.contrib.auth.models import User
from django.db import connections
from django.test.utils import CaptureQueriesContext

from inventory.services import adjust_stock
from orders.catalogue import LineWanted
from orders.models import Product
from orders.services import NewOrder, place_order
from sagas.celery import tasks
from sagas.delivery import relay
from sagas.storage.registry import get_service, service_names
from tests.broker import Sent, take

__all__ = [
    "Statements",
    "open_shop",
    "place",
    "places",
    "run",
    "send",
    "statements",
    "to_step",
    "walk",
]

TASKS = {task.name: task for task in (tasks.run_step, tasks.flush, tasks.record)}


class Statements(list[str]):
    """The statements that ran, with BEGIN and COMMIT: each is a round trip to a database."""


@contextmanager
def statements() -> Iterator[Statements]:
    """Collect the statements that run on all three databases."""
    run = Statements()
    with ExitStack() as stack:
        captured = [
            stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in connections
        ]
        yield run
    run += [query["sql"] for one in captured for query in one.captured_queries]


def open_shop() -> int:
    """Offer mugs that are in stock and rare ones that are not; return a customer's id."""
    for sku in ("MUG", "RARE"):
        Product.objects.create(sku=sku, name=sku.title(), unit_amount=1_000, currency="eur")
    adjust_stock(sku="MUG", quantity=1_000, reason="delivery", by="tests")
    return User.objects.create_user("ada").pk


def place(ada: int, sku: str = "MUG") -> None:
    """Place an order for one piece."""
    new = NewOrder(lines=(LineWanted(sku, 1),), payment_method="pm_card_visa")
    place_order(user_id=ada, key=str(uuid4()), new=new, render=lambda order: str(order.id))


def places(count: int, sku: str = "MUG") -> None:
    """Place some orders."""
    ada = User.objects.get(username="ada").pk
    for _ in range(count):
        place(ada, sku)


def send() -> None:
    """Send the due rows of orders, as the flush thread does."""
    relay.flush(get_service("orders"))


def walk() -> Counter[str]:
    """Run all messages and the rest of their chains; return how many of each task ran."""
    return Counter(message.task for message in _walk())


def to_step(step: str) -> Sent:
    """Run messages until one for this step comes, and return it."""
    return next(
        message
        for message in _walk()
        if message.task == "sagas.run_step" and message.args[0] == step
    )


def run(message: Sent) -> list[Sent]:
    """Run a message's task; return the messages that follow it in its chain."""
    task = TASKS[message.task]
    behind = [
        Sent("sagas.flush", [service], [], [], [], []) for service in reversed(message.flushed)
    ]
    task.push_request(chain=behind)  # type: ignore[call-arg]
    try:
        task.run(*message.args)
    finally:
        task.pop_request()
    return behind


def _walk() -> Iterator[Sent]:
    while messages := [message for service in service_names() for message in take(service)]:
        for message in messages:
            yield message
            for behind in run(message):
                yield behind
                run(behind)
