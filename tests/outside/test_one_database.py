"""While one of the databases is down, the other services work. Its sagas wait, and continue
when it is back.
"""

from contextlib import contextmanager

import pytest
from django.db import connections

from api.auth.tokens import issue_token
from inventory.models import Reservation
from orders.models import Order, Outbox
from payments.models import Inbox, Payment
from tests.integration.orders.harness import user
from tests.outside.customer import Customer
from tests.outside.harness import as_superuser, end_sessions, name_of
from tests.processes import until
from tests.system.harness import net, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

FULFILLED = ("fulfilled", "")


@contextmanager
def down(alias):
    """Let no process connect to a database while the context lasts."""
    name = name_of(alias)
    connections[alias].close()
    as_superuser("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)

    try:
        end_sessions(f"datname = '{name}'")
        yield
    finally:
        as_superuser("ALTER DATABASE {} ALLOW_CONNECTIONS true", name)
        connections.close_all()


def assert_all_fulfilled(customer):
    assert {outcome(order) for order in customer.placed.values()} == {FULFILLED}
    assert {net(order) for order in customer.placed.values()} == {1_000}


def test_without_payments_the_api_accepts_orders_and_they_wait(ada, system):
    with down("payments"):
        for number in range(3):
            ada.order_until_placed(f"waits-{number}")

        until(
            lambda: not Outbox.objects.filter(published_at=None).exists(),
            "all outbox rows are sent",
        )
        assert set(Order.objects.values_list("status", flat=True)) == {"pending"}

    system.wait_until_idle()
    assert_all_fulfilled(ada)


def test_without_payments_staff_read_orders_whose_payment_is_unknown(ada, system):
    ada.order_until_placed("paid")
    system.wait_until_idle()
    staff = Customer(ada.address, issue_token(user("sam", "viewer")))
    order = f"orders/{ada.placed['paid']}/"

    with down("payments"):
        assert staff.get(order).json()["payment"]["status"] == "unknown"
        (listed,) = staff.get("orders/").json()["results"]
        assert (listed["status"], listed["payment"]["status"]) == ("fulfilled", "unknown")
        assert "payment" not in ada.get(order).json()

    until(
        lambda: staff.get(order).json()["payment"]["status"] == "captured",
        "the payment can be read again",
    )


def test_without_inventory_orders_are_accepted_and_paid_and_wait(ada, system):
    with down("inventory"):
        for number in range(3):
            ada.order_until_placed(f"waits-{number}")

        until(lambda: Order.objects.filter(status="paid").count() == 3, "all orders are paid")

    system.wait_until_idle()
    assert_all_fulfilled(ada)


def test_without_orders_the_api_refuses_and_the_other_services_work(ada, system):
    ada.order_until_placed("under-way", method="pm_sim_timeout_lost")
    until(lambda: Inbox.objects.filter(step="payments.charge").exists(), "the charge is attempted")

    with down("default"):
        assert ada.order("too-early") == 503
        until(
            lambda: Payment.objects.filter(status="captured").exists(),
            "the order is paid",
        )
        until(Reservation.objects.exists, "the stock is reserved")

    assert Order.objects.count() == 1
    ada.order_until_placed("too-early")
    system.wait_until_idle()
    assert_all_fulfilled(ada)
