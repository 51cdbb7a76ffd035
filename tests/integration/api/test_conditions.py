"""A change with a conditional header is refused, because the API would not compare it."""

import pytest

from api.requests.conditions import CONDITIONS
from orders.models import IdempotencyKey, Order, Product
from tests.integration.orders import harness

pytestmark = pytest.mark.django_db(databases="__all__")


def refused(answer):
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    return answer.json()["type"] == "/errors/condition-not-supported"


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("value", ["*", '"abc"', "Sat, 29 Oct 1994 19:43:31 GMT", ""])
def test_an_order_with_a_condition_is_not_placed(condition, value):
    ada = harness.client_of("ada")
    harness.stocked("MUG")
    headers = {"Idempotency-Key": "k", condition: value}
    answer = ada.post(
        harness.ORDERS, harness.body_for(), content_type=harness.JSON, headers=headers
    )

    assert refused(answer)
    assert condition in answer.json()["detail"]
    assert not Order.objects.exists()
    assert not IdempotencyKey.objects.exists()


def test_an_order_is_not_cancelled_on_a_condition():
    ada, order = harness.client_of("ada"), harness.order()
    tag = ada.get(harness.path(order))["ETag"]
    answer = ada.post(harness.path(order, "cancel/"), headers={"If-Match": tag})
    assert refused(answer)
    assert Order.objects.get().status == "pending"


def test_a_price_is_not_changed_on_a_condition():
    staff = harness.client_of("sam", is_staff=True)
    harness.stocked("MUG")
    answer = staff.patch(
        f"{harness.PRODUCTS}MUG/",
        {"unit_amount": 1},
        content_type=harness.JSON,
        headers={"If-Match": '"old"'},
    )
    assert refused(answer)
    assert Product.objects.get().unit_amount == 1250


@pytest.mark.parametrize(
    "path",
    [
        "auth/token/",
        "auth/tokens/",
        "orders/",
        "orders/0192f0c1-0000-7000-8000-000000000001/cancel/",
        "products/",
        "products/MUG/",
        "stock/MUG/adjustments/",
        "payments/webhooks/stripe/",
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_change_anywhere_takes_a_condition(method, path):
    staff = harness.client_of("sam", is_staff=True)
    answer = staff.generic(method, f"/api/v1/{path}", "{}", headers={"If-Match": "*"})
    assert refused(answer)


def test_reading_still_compares_conditions():
    ada, order = harness.client_of("ada"), harness.order()
    assert ada.get(harness.path(order), headers={"If-Match": '"old"'}).status_code == 412
    assert ada.get(harness.path(order), headers={"If-None-Match": "*"}).status_code == 304
