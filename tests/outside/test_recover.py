"""A database is restored to an older point, or lost, under load. `manage.py recover` rebuilds it.

Orders are charged at the Stripe sandbox, because the ledger of a real gateway is not restored with
the payments.
"""

import threading
from collections import Counter
from contextlib import contextmanager
from itertools import count, cycle
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connections

from api.auth.tokens import issue_token
from inventory.services import adjust_stock
from orders.models import Order
from payments.models import Inbox, Payment
from recovery.inventory import RESERVE
from sagas.operations import holds, redrive
from sagas.storage.registry import get_service
from tests.integration.payments.stripe_harness import use_stripe
from tests.outside.customer import Customer, api
from tests.outside.harness import SHORT_TIMES, in_database, running_system
from tests.outside.restored import back_up, forget_heartbeats, lose, restore
from tests.processes import until
from tests.sandbox.process import API_KEY, SECRET, running
from tests.system.harness import SERVICES, shop

__all__ = ["shop"]

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.outside,
    pytest.mark.timeout(400),
]

# The orders of the load: most are fulfilled, others are declined, decided late, or out of stock.
LOAD: tuple[dict[str, Any], ...] = (
    {},
    {"method": "pm_card_chargeDeclined"},
    {"quantity": 2},
    {"method": "pm_sim_processing"},
    {"sku": "RARE", "and_sku": "MUG"},
    {"method": "pm_sim_500_charged"},
)

# Orders placed before the backup, and after it.
ORDERS = 24


@pytest.fixture
def sandbox(settings):
    """Run a sandbox whose ledger outlives every restore."""
    with running("--settle-seconds", "1") as sandbox:
        use_stripe(settings, sandbox)
        yield sandbox


@pytest.fixture
def environ(sandbox):
    """The environment of the workers and the API."""
    return SHORT_TIMES | {
        "PAYMENT_GATEWAY": "stripe",
        "STRIPE_API_KEY": API_KEY,
        "STRIPE_API_BASE": sandbox.url,
        "STRIPE_WEBHOOK_SECRET": SECRET,
    }


@pytest.mark.parametrize("saga", ["charge_first", "authorize_first"])
@pytest.mark.parametrize("service", ["payments", "inventory", "orders"])
def test_a_database_restored_to_an_older_point_under_load(
    service, saga, sandbox, environ, shop, tmp_path
):
    with running_system(environ), api(**environ, ORDER_SAGA=saga) as address:
        ada = Customer(address, issue_token(shop))
        with ordering(ada):
            ada.wait_for_orders(ORDERS)
            dump = back_up(service, tmp_path)
            ada.wait_for_orders(ORDERS)
        wait_until_all_have_left_orders(ada)
        open_before = Order.objects.filter(ended_at=None).count()
    assert open_before, "the system was stopped in the middle of the load"

    restore(service, dump)
    recover(service, tmp_path)

    assert_all_end(environ, ada, sandbox)
    assert set(Order.objects.values_list("user_id", flat=True)) == {shop.pk}


@pytest.mark.parametrize("service", ["payments", "inventory", "orders"])
def test_a_database_that_is_lost_altogether_under_load(service, sandbox, environ, shop, tmp_path):
    with running_system(environ), api(**environ) as address:
        ada = Customer(address, issue_token(shop))
        with ordering(ada):
            ada.wait_for_orders(2 * ORDERS)
        wait_until_all_have_left_orders(ada)

    lose(service)
    recover(service, tmp_path)

    assert_all_end(environ, ada, sandbox)


def recover(service, folder):
    """Follow the steps of docs/recovery.md."""
    forget_heartbeats()
    call_command("recover", service, apply=True, log=folder / "recovered.jsonl")
    if service == "inventory":
        adjust_stock(sku="MUG", quantity=1_000, reason="counted", by="tests")
        for name in ("inventory", "orders"):
            assert holds.release(get_service(name), step=RESERVE)


def assert_all_end(environ, customer, sandbox):
    """Run the system until all orders have ended; check them against the sandbox's ledger."""
    with running_system(environ) as system:
        system.wait_until_idle()

    orders = {str(order.id): order for order in Order.objects.all()}
    assert set(customer.placed.values()) <= set(orders)
    assert {order.status for order in orders.values()} <= {"fulfilled", "cancelled"}

    captures, net = movements(sandbox)
    assert max(captures.values()) == 1
    expected = {
        placed: order.amount if order.status == "fulfilled" else 0
        for placed, order in orders.items()
    }
    assert {placed: net[placed] for placed in orders} == expected
    assert set(net) <= set(orders)


def movements(sandbox):
    """Return the number of captures and the captured − refunded amount of each order."""
    captures: Counter[str] = Counter()
    net: Counter[str] = Counter()
    for entry in sandbox.ledger():
        if entry["status"] == "failed":
            continue
        if entry["kind"] == "capture":
            captures[entry["order_id"]] += 1
        net[entry["order_id"]] += entry["amount"] * (1 if entry["kind"] == "capture" else -1)
    return captures, net


@contextmanager
def ordering(customer):
    """Place orders of every kind of `LOAD`, one after the other, while the context lasts."""
    stop = threading.Event()

    def place():
        for number, wanted in zip(count(), cycle(LOAD), strict=False):
            if stop.is_set():
                return
            customer.order_until_placed(f"load-{number}", **wanted)

    thread = threading.Thread(target=place)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_until_all_have_left_orders(customer):
    """Wait until payments knows every placed order: an order without a trace cannot be rebuilt."""
    placed = set(customer.placed.values())

    def all_known():
        known = {str(saga) for saga in Inbox.objects.values_list("saga", flat=True)}
        return placed <= known

    until(all_known, "payments has received all orders")
    assert in_database("default", "SELECT count(*) FROM orders_order")[0][0] >= len(placed)


@pytest.mark.parametrize("recovers_first", [True, False])
def test_no_order_is_charged_twice_after_the_gateway_has_forgotten_the_keys(
    recovers_first, sandbox, environ, shop, tmp_path
):
    for name in ("inventory", "orders"):
        holds.hold(get_service(name), step=RESERVE, by="tests", why="keeps the orders open")
    dump = back_up("payments", tmp_path)
    with running_system(environ), api(**environ) as address:
        ada = Customer(address, issue_token(shop))
        for number in range(6):
            ada.order_until_placed(f"paid-{number}")
        until(lambda: Order.objects.filter(on_hold=RESERVE).count() == 6, "all orders are paid")
    restore("payments", dump)
    pass_hours(25, sandbox)

    if not recovers_first:
        with running_system(environ):
            orders = [UUID(each) for each in ada.placed.values()]
            for name in SERVICES:  # a further service may send the charge
                redrive.republish(get_service(name), orders)
            charged = Payment.objects.filter(status="captured")
            until(lambda: charged.count() == 6, "the charges were requested again")
    recover("payments", tmp_path)
    for name in ("inventory", "orders"):
        holds.release(get_service(name), step=RESERVE)

    assert_all_end(environ, ada, sandbox)
    assert set(Order.objects.values_list("status", flat=True)) == {"fulfilled"}


def pass_hours(hours, sandbox):
    """Let time pass: the sagas are that much older, and the gateway has forgotten their keys."""
    sandbox.control("clock", advance=hours * 3600)
    back = f"interval '{hours} hours'"
    with connections["default"].cursor() as cursor:
        cursor.execute(f"UPDATE orders_order SET created_at = created_at - {back}")
    for name in SERVICES:
        service = get_service(name)
        with connections[service.alias].cursor() as cursor:
            for table in (service.outbox, service.inbox):
                cursor.execute(f"UPDATE {table} SET saga_started_at = saga_started_at - {back}")
