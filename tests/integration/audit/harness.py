"""Places orders through the real services, and delivers their messages to the real steps."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.test import override_settings

from audit.load import saga_services
from audit.snapshot import FINAL
from inventory.services import adjust_stock
from orders.catalogue import LineWanted
from orders.models import Order, Product
from orders.saga import PLACE_ORDER
from orders.services import NewOrder, cancel_order, place_order
from sagas import sql
from sagas.definition.messages import Message, TimelineEntry
from sagas.definition.plan import Plan, service_name
from sagas.execution import failures, runner
from sagas.execution.failures import Failure
from sagas.storage import timeline
from sagas.storage.registry import Service, get_home, service_of_step
from tests.shop import SHOP

PLAN = PLACE_ORDER.plan

# More rounds than the longest saga needs, with a charge that needs two calls.
ROUNDS = 12

SENT = """
SELECT id, saga, saga_started_at, seq, context::text, headers::text
  FROM {outbox} WHERE target = %(step)s AND saga = ANY(%(orders)s)
 ORDER BY saga, seq
"""
WRITTEN = """
SELECT id, saga, seq, type, %(service)s AS service, step, step_attempt AS attempt,
       created_at AS at, data AS detail,
       target IS NULL AND type NOT LIKE 'saga.%%' AS ends
  FROM {outbox}
"""
DUE = "UPDATE {inbox} SET due_at = now() - interval '1 s' WHERE state IN ('started', 'waiting')"
PUBLISHED = "UPDATE {outbox} SET published_at = now() WHERE published_at IS NULL"

numbers = count()


def open_shop() -> None:
    """Create products: mugs and plates with a hundred in stock each, and a vase with none."""
    for sku, amount in (("MUG", 1250), ("PLATE", 900), ("VASE", 8000)):
        Product.objects.get_or_create(
            sku=sku, defaults={"name": sku, "unit_amount": amount, "currency": "eur"}
        )
    for sku in ("MUG", "PLATE"):
        adjust_stock(sku=sku, quantity=100, reason="received", by="staff")
    adjust_stock(sku="MUG", quantity=-3, reason="broken", by="staff")


def open_free_shop() -> None:
    """Open the shop with free products: gifts with a hundred in stock, and posters with none."""
    open_shop()
    for sku in ("GIFT", "POSTER"):
        Product.objects.get_or_create(
            sku=sku, defaults={"name": sku, "unit_amount": 0, "currency": "eur"}
        )
    adjust_stock(sku="GIFT", quantity=100, reason="received", by="staff")


def place(*skus: str, method: str = "pm_card_visa", first: str = "") -> UUID:
    """Place an order for two pieces of each SKU.

    `first`: "charge" or "authorize", and otherwise the saga of the settings.
    """
    ada, _ = User.objects.get_or_create(username="ada")
    lines = tuple(LineWanted(sku, 2) for sku in skus or ("MUG",))
    with override_settings(ORDER_SAGA=f"{first}_first" if first else settings.ORDER_SAGA):
        placed = place_order(
            user_id=ada.pk,
            key=f"key-{next(numbers)}",
            new=NewOrder(lines, method),
            render=lambda order: str(order.id),
        )
    return UUID(placed.order_id)


def cancel(order: UUID) -> None:
    """Cancel an order as its customer does."""
    cancel_order(Order.objects.get(id=order))


def deliver(step: str, *orders: UUID, plan: Plan = PLAN) -> None:
    """Deliver to a step the messages that any service sent it for these orders.

    The steps of further services, which the tests do not name, run as soon as they are requested.
    """
    further = [name for name in plan.names() if service_name(name) not in SHOP]
    for name in (*further, step):
        _make_due(service_of_step(name))
        if messages := messages_to(name, orders):
            runner.run(name, plan, messages)


def give_up(step: str, order: UUID, plan: Plan = PLAN) -> None:
    """Record failures of a step until it is given up."""
    (message,) = messages_to(step, [order])
    for attempt in range(1, 6):
        failures.record_failures(
            plan, step, [Failure(message=message, attempt=attempt, error="boom", isolated=True)]
        )


def run_to_end(*orders: UUID, plan: Plan = PLAN) -> None:
    """Deliver the messages of these orders until none is left, and record the timeline."""
    for _ in range(ROUNDS):
        for step in plan.names():
            deliver(step, *_waiting(step, orders), plan=plan)
    record_timeline()


def record_timeline() -> None:
    """Record every event in the timeline, and mark its row as published."""
    entries = [entry for service in saga_services() for entry in _entries(service)]
    timeline.record(get_home("orders"), entries)
    for service in saga_services():
        sql.run(service.alias, PUBLISHED.format(outbox=service.outbox), {})


def messages_to(step: str, orders: Iterable[UUID]) -> list[Message]:
    """Return the messages sent to a step for these orders."""
    rows = [
        row
        for service in saga_services()
        for row in sql.fetch(
            service.alias,
            SENT.format(outbox=service.outbox),
            {"step": step, "orders": list(orders)},
        )
    ]
    return [
        Message(
            id=event,
            saga=saga,
            started_at=started_at,
            seq=seq,
            context=msgspec.json.decode(context),
            headers=msgspec.json.decode(headers),
        )
        for event, saga, started_at, seq, context, headers in rows
    ]


@contextmanager
def temporary_changes(alias: str, *statements: str, **params: Any) -> Iterator[None]:
    """Run statements in a transaction that is rolled back at the end of the context."""
    with transaction.atomic(using=alias):
        with connections[alias].cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, params if "%(" in statement else None)
        yield
        transaction.set_rollback(True, using=alias)


def _waiting(step: str, orders: Iterable[UUID]) -> list[UUID]:
    inbox, alias = service_of_step(step).inbox, service_of_step(step).alias
    rows = dict(
        sql.fetch(alias, f"SELECT saga, state FROM {inbox} WHERE step = %(step)s", {"step": step})
    )
    return [order for order in orders if rows.get(order) not in FINAL]


def _make_due(service: Service) -> None:
    sql.run(service.alias, DUE.format(inbox=service.inbox), {})


def _entries(service: Service) -> Iterator[TimelineEntry]:
    with connections[service.alias].cursor() as cursor:
        cursor.execute(WRITTEN.format(outbox=service.outbox), {"service": service.name})
        names = [column.name for column in cursor.description]
        for row in cursor.fetchall():
            entry = dict(zip(names, row, strict=True))
            yield TimelineEntry(**{**entry, "detail": msgspec.json.decode(entry["detail"])})
