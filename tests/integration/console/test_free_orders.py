"""A free order in the console: its amount is 0, and no payment is missing or unknown."""

import json

import pytest
from django.urls import reverse

from orders.models import Order
from orders.saga import PLACE_ORDER
from orders.status import Status
from sagas.testing import story
from tests.integration.audit import harness as walked
from tests.integration.orders import harness

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def free(settings):
    """A free order whose stock is reserved."""
    settings.FREE_PRODUCTS = True
    walked.open_free_shop()
    told = story(PLACE_ORDER, lambda: walked.place("GIFT", first="charge"))
    told.run(until="inventory.reserve")
    Order.objects.filter(id=told.saga).update(status=Status.RESERVED, payment_method="")
    return Order.objects.get(id=told.saga)


def page_of(client, order):
    answer = client.get(reverse("admin:orders_order_change", args=[order.id]))
    return answer.context["detail"], answer.content.decode()


def test_the_page_says_that_no_payment_is_needed(viewer, free):
    detail, page = page_of(viewer, free)
    assert (detail.is_free, detail.payment_is_missing) == (True, False)
    assert "No payment is needed: the order is free." in page
    assert "<span>Amount</span><strong>0.00 EUR</strong>" in page
    assert "<span>Payment method</span><strong>not given</strong>" in page
    assert "Unknown: payments has worked on this order" not in page
    assert "payments.charge" not in page


def test_the_payment_is_not_unknown_although_payments_do_not_answer(viewer, free, broken):
    broken("payments", "payments_payment")
    _, page = page_of(viewer, free)
    assert "No payment is needed: the order is free." in page


def test_the_list_shows_the_amount_as_0(viewer, free):
    page = viewer.get("/admin/orders/order/", {"show": "all"}).content.decode()
    assert "0.00 EUR" in page


def test_an_order_that_costs_money_still_misses_its_payment(viewer):
    detail, page = page_of(viewer, harness.order(Status.RESERVED))
    assert (detail.is_free, detail.payment_is_missing) == (False, True)
    assert "Unknown: payments has worked on this order" in page


def test_the_export_has_the_amount_0_and_no_payment(viewer, free):
    answer = viewer.get(f"/admin/orders/order/{free.id}/export/")
    exported = json.loads(answer.content)
    assert (exported["order"]["amount"], exported["order"]["currency"]) == (0, "eur")
    assert exported["order"]["lines"] == [{"sku": "GIFT", "quantity": 2, "unit_amount": 0}]
    assert exported["payment"] is None
    assert "payments.charge" not in json.dumps(exported["plan"])
