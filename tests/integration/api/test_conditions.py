"""A change with a conditional header is refused, because the API would not compare it."""

import pytest

from api import openapi
from api.requests.conditions import CONDITIONS, SAFE_METHODS
from orders.models import IdempotencyKey, Order, Product
from sagas.ids import uuid7
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
    staff = harness.client_of("sam", *harness.STAFF)
    harness.stocked("MUG")
    answer = staff.patch(
        f"{harness.PRODUCTS}MUG/",
        {"unit_amount": 1},
        content_type=harness.JSON,
        headers={"If-Match": '"old"'},
    )
    assert refused(answer)
    assert Product.objects.get().unit_amount == 1250


def changes():
    """Return the method and the path of every operation that changes data."""
    ids = {"id": uuid7(), "order_id": uuid7(), "sku": "MUG", "step": "returns.receive"}
    return [
        (method.upper(), path.format(**ids))
        for path, operations in openapi.schema()["paths"].items()
        for method in operations
        if method.upper() not in SAFE_METHODS
    ]


def test_no_change_anywhere_takes_a_condition():
    staff = harness.client_of("sam", *harness.STAFF)
    assert len(changes()) >= 8
    for method, path in changes():
        answer = staff.generic(method, path, "{}", headers={"If-Match": "*"})
        assert refused(answer), (method, path)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "orders/", 405), ("QUERY", "orders/", 405), ("POST", "nothing/", 404)],
)
def test_an_operation_that_does_not_exist_is_told_so_first(method, path, status):
    staff = harness.client_of("sam", *harness.STAFF)
    answer = staff.generic(method, f"/api/v1/{path}", headers={"If-Match": "*"})
    assert answer.status_code == status


def test_reading_still_compares_conditions():
    ada, order = harness.client_of("ada"), harness.order()
    assert ada.get(harness.path(order), headers={"If-Match": '"old"'}).status_code == 412
    assert ada.get(harness.path(order), headers={"If-None-Match": "*"}).status_code == 304
