"""Staff see an order's payment. A payment that cannot be read is unknown, never absent."""

from collections.abc import Collection, Mapping
from threading import Event
from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.test import override_settings

from orders import payment_summaries
from orders.api.serializers import PAYMENT_STATUSES
from payments.models import Payment
from payments.summaries import payment_summaries as summaries_of_payments
from staff.roles import AUDITORS
from tests.integration.orders import harness

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])

UNKNOWN = {
    "status": "unknown",
    "amount": None,
    "captured_amount": None,
    "refunded_amount": None,
    "owed_amount": None,
    "paid_otherwise_amount": None,
    "disputed": None,
}


@pytest.fixture
def staff():
    return harness.client_of("sam", *harness.STAFF)


def paid(order, **fields):
    usual = {
        "status": "captured",
        "amount": order.amount,
        "charge_id": f"ch_{order.id}",
        "charge_key": f"charge-{order.id}",
        "refund_key": f"refund-{order.id}",
        "currency": "eur",
    }
    return Payment.objects.create(order_id=order.id, **(usual | fields))


def shown(client, order):
    """Return the payment in the order, read alone and in the list."""
    alone = client.get(harness.path(order)).json()["payment"]
    listed = {one["id"]: one for one in client.get(harness.ORDERS).json()["results"]}
    assert listed[str(order.id)]["payment"] == alone
    return alone


def test_staff_see_the_payment_of_an_order(staff):
    order = harness.order()
    paid(
        order,
        captured_amount=2000,
        refunded_amount=250,
        owed_amount=1750,
        paid_otherwise_amount=250,
    )
    assert shown(staff, order) == {
        "status": "captured",
        "amount": 2500,
        "captured_amount": 2000,
        "refunded_amount": 250,
        "owed_amount": 1750,
        "paid_otherwise_amount": 250,
        "disputed": False,
    }


@pytest.mark.parametrize(
    ("dispute_status", "disputed_amount", "disputed"),
    [("open", 2500, True), ("lost", 2500, True), ("won", 0, False), ("", 0, False)],
)
def test_staff_see_whether_money_is_disputed(staff, dispute_status, disputed_amount, disputed):
    order = harness.order()
    paid(order, dispute_status=dispute_status, disputed_amount=disputed_amount)
    assert shown(staff, order)["disputed"] is disputed


def test_an_undecided_payment_has_no_known_amounts(staff):
    order = harness.order()
    paid(order, status="pending", charge_id=None)
    payment = shown(staff, order)
    assert (payment["status"], payment["captured_amount"], payment["owed_amount"]) == (
        "pending",
        None,
        None,
    )


def test_an_order_without_a_payment_has_none(staff):
    other = harness.order()
    paid(other)
    assert shown(staff, harness.order()) is None


def test_auditors_see_the_payment_and_customers_do_not():
    order = harness.order(of="ada")
    paid(order)
    auditor = harness.client_of("audrey")
    group, _ = Group.objects.get_or_create(name=AUDITORS)
    harness.user("audrey").groups.add(group)
    assert shown(auditor, order)["status"] == "captured"

    customer = harness.client_of("ada")
    assert "payment" not in customer.get(harness.path(order)).json()
    (listed,) = customer.get(harness.ORDERS).json()["results"]
    assert "payment" not in listed


def unreachable(orders: Collection[UUID]) -> Mapping[UUID, object]:
    raise OperationalError("connection refused")


ANSWERED = Event()


def hanging(orders: Collection[UUID]) -> Mapping[UUID, object]:
    assert ANSWERED.wait(30)
    return {}


@pytest.fixture
def short_limit(monkeypatch):
    """Let a request wait only shortly, and end all hanging reads after the test."""
    ANSWERED.clear()
    monkeypatch.setattr(payment_summaries, "LIMIT", 0.05)
    yield
    ANSWERED.set()


@pytest.mark.parametrize("fault", ["unreachable", "hanging"])
@pytest.mark.usefixtures("short_limit")
def test_a_payment_that_cannot_be_read_is_unknown(staff, fault):
    order = harness.order()
    with override_settings(PAYMENT_SUMMARIES=f"{__name__}.{fault}"):
        assert shown(staff, order) == UNKNOWN


@pytest.mark.usefixtures("short_limit")
def test_orders_are_read_while_more_reads_of_payments_hang_than_there_are_threads(staff):
    order = harness.order()
    with override_settings(PAYMENT_SUMMARIES=f"{__name__}.hanging"):
        seen = [staff.get(harness.path(order)).json()["payment"] for _ in range(8)]
    assert seen == [UNKNOWN] * 8


def test_a_payment_is_read_again_once_payments_answer(staff):
    order = harness.order()
    with override_settings(PAYMENT_SUMMARIES=f"{__name__}.unreachable"):
        assert shown(staff, order) == UNKNOWN
    assert shown(staff, order) is None


def test_a_page_costs_payments_one_query(django_assert_num_queries):
    orders = [harness.order() for _ in range(3)]
    for order in orders:
        paid(order)
    with django_assert_num_queries(1, using="payments"):
        found = summaries_of_payments([order.id for order in orders])
    assert set(found) == {order.id for order in orders}


def test_the_statuses_are_those_of_payments_and_one_for_unknown():
    assert [status for status, _ in PAYMENT_STATUSES] == [*Payment.Status.values, "unknown"]
