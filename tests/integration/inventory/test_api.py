"""Stock over REST: staff read and adjust it, with strict input."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from inventory.models import StockAdjustment
from tests.integration.inventory.factories import counters, order, received, run
from tests.integration.orders import harness

pytestmark = pytest.mark.django_db(databases=["default", "inventory"])


@pytest.fixture
def staff() -> APIClient:
    client = APIClient()
    client.force_authenticate(harness.user("ann", *harness.STAFF))
    return client


def adjust(client: APIClient, sku: str, body: Any) -> Any:
    return client.post(f"/api/v1/stock/{sku}/adjustments/", body, format="json")


def test_stock_is_for_staff_only() -> None:
    customer = APIClient()
    for path in ("stock/", "stock/MUG/", "stock/MUG/adjustments/"):
        assert APIClient().get(f"/api/v1/{path}").status_code == 401
    customer.force_authenticate(User.objects.create_user("bob"))
    for path in ("stock/", "stock/MUG/", "stock/MUG/adjustments/"):
        assert customer.get(f"/api/v1/{path}").status_code == 403
    assert adjust(customer, "MUG", {"quantity": 1, "reason": "x"}).status_code == 403


def test_an_item_shows_where_its_pieces_are(staff: APIClient) -> None:
    received(MUG=5)
    run("inventory.reserve", order("inventory.reserve", {"MUG": 2}))
    seen = {"sku": "MUG", "on_hand": 3, "reserved": 2, "available": 3, "shipped": 0, "returned": 0}
    assert staff.get("/api/v1/stock/MUG/").json() == seen
    assert staff.get("/api/v1/stock/").json() == {"results": [seen], "next": None, "previous": None}


def test_stock_comes_in_pages_by_sku(staff: APIClient) -> None:
    received(**{f"SKU-{number}": 1 for number in (2, 0, 1)})
    first = staff.get("/api/v1/stock/", {"limit": 2}).json()
    second = staff.get(first["next"]).json()
    assert [item["sku"] for item in first["results"] + second["results"]] == [
        "SKU-0",
        "SKU-1",
        "SKU-2",
    ]


def test_an_unknown_sku_is_not_found(staff: APIClient) -> None:
    for path in (
        "stock/NONE/",
        "stock/NONE/adjustments/",
        "stock/%00/",
        "stock/ä/",
        f"stock/{'x' * 65}/",
    ):
        answer = staff.get(f"/api/v1/{path}")
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_an_adjustment_is_made_and_kept(staff: APIClient) -> None:
    answer = adjust(staff, "MUG", {"quantity": 10, "reason": "first delivery"})
    assert answer.status_code == 201
    made = answer.json()
    assert {name: made[name] for name in ("sku", "quantity", "reason", "by")} == {
        "sku": "MUG",
        "quantity": 10,
        "reason": "first delivery",
        "by": "ann",
    }
    assert counters("MUG") == (10, 0, 0)
    assert staff.get("/api/v1/stock/MUG/adjustments/").json()["results"] == [made]


def test_an_adjustment_below_what_is_reserved_conflicts(staff: APIClient) -> None:
    received(MUG=5)
    run("inventory.reserve", order("inventory.reserve", {"MUG": 4}))
    answer = adjust(staff, "MUG", {"quantity": -2, "reason": "broken"})
    assert (answer.status_code, answer.json()["title"]) == (409, "Stock too low")
    assert counters("MUG") == (1, 4, 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"quantity": 0, "reason": "x"}, "quantity"),
        ({"quantity": "3", "reason": "x"}, "quantity"),
        ({"quantity": True, "reason": "x"}, "quantity"),
        ({"quantity": 1.5, "reason": "x"}, "quantity"),
        ({"quantity": 1_000_001, "reason": "x"}, "quantity"),
        ({"quantity": -(10**18), "reason": "x"}, "quantity"),
        ({"quantity": None, "reason": "x"}, "quantity"),
        ({"reason": "x"}, "quantity"),
        ({"quantity": 1}, "reason"),
        ({"quantity": 1, "reason": ""}, "reason"),
        ({"quantity": 1, "reason": "x" * 201}, "reason"),
        ({"quantity": 1, "reason": 5}, "reason"),
        ({"quantity": 1, "reason": "a\0b"}, ""),
        ({"quantity": 1, "reason": "x", "sku": "CAP"}, "sku"),
        ([], ""),
    ],
)
def test_an_adjustment_that_makes_no_sense_is_refused(
    staff: APIClient, body: Any, field: str
) -> None:
    answer = adjust(staff, "MUG", body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not StockAdjustment.objects.exists()


def test_a_key_that_would_not_be_honoured_is_refused(staff: APIClient) -> None:
    answer = staff.post(
        "/api/v1/stock/MUG/adjustments/",
        {"quantity": 1, "reason": "x"},
        format="json",
        headers={"Idempotency-Key": "k"},
    )
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["Idempotency-Key"]
    assert not StockAdjustment.objects.exists()
