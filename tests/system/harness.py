"""The whole system in a test: products, real workers and beat, orders over HTTP, and results."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from inventory.services import adjust_stock
from orders.models import Order, Product, TimelineEvent
from payments.models import SimulatedCharge
from services import NAMES as SERVICES
from tests.broker import empty
from tests.processes import Process, beat, worker
from tests.shop import SHOP

__all__ = [
    "QUICK",
    "SERVICES",
    "assert_sound",
    "ended",
    "net",
    "order",
    "order_body",
    "outcome",
    "shop",
    "system",
    "timeline",
]

QUICK = {"OUTBOX_FLUSH_SECONDS": "0.5", "SAGA_STALL_SECONDS": "3"}


@pytest.fixture(autouse=True)
def shop() -> User:
    """Empty the broker, offer 1,000 mugs and three rare ones, and return a customer."""
    empty()
    Product.objects.create(sku="MUG", name="Mug", unit_amount=1_000, currency="eur")
    Product.objects.create(sku="RARE", name="A rare mug", unit_amount=9_000, currency="eur")
    adjust_stock(sku="MUG", quantity=1_000, reason="delivery", by="tests")
    adjust_stock(sku="RARE", quantity=3, reason="delivery", by="tests")
    return User.objects.create_user("ada")


@contextmanager
def system(environ: Mapping[str, str] = QUICK) -> Iterator[dict[str, Process]]:
    """Run a worker for each service, and beat."""
    with ExitStack() as stack:
        workers = {
            service: stack.enter_context(worker(service, environ=environ)) for service in SERVICES
        }
        stack.enter_context(beat(environ=environ))
        yield workers


def order_body(
    *, sku: str = "MUG", quantity: int = 1, method: str = "pm_card_visa", and_sku: str = ""
) -> dict[str, Any]:
    """Return the body of a request that orders pieces of one SKU or of two."""
    lines = [{"sku": wanted, "quantity": quantity} for wanted in (sku, and_sku) if wanted]
    return {"lines": lines, "payment_method": method}


def order(client: Client, key: str, **wanted: Any) -> str:
    """Place an order, with a body from `order_body`, and return its id."""
    response = client.post(
        "/api/v1/orders/",
        order_body(**wanted),
        content_type="application/json",
        headers={"Idempotency-Key": key},
    )
    assert response.status_code == 201, response.content
    placed: str = response.json()["id"]
    return placed


def ended(*orders: str) -> bool:
    """Return whether all of these orders have ended."""
    return not Order.objects.filter(id__in=orders, ended_at=None).exists()


def outcome(order_id: str) -> tuple[str, str]:
    """Return the status and the failure code of an order."""
    row = Order.objects.get(id=order_id)
    return row.status, row.failure_code


def net(order_id: str) -> int:
    """Return captured − refunded at the gateway, in minor units."""
    moved = SimulatedCharge.objects.filter(order_id=order_id).values_list("kind", "amount")
    return sum(amount if kind == "capture" else -amount for kind, amount in moved)


def timeline(order_id: str) -> list[str]:
    """Return the types of an order's events from the shop, oldest first."""
    events = TimelineEvent.objects.filter(saga=order_id, service__in=SHOP)
    return list(events.values_list("type", flat=True))


def assert_sound() -> None:
    """Check that every order has ended and that every invariant holds."""
    call_command("audit", "--expect-ended")
