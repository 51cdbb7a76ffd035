"""The catalogue: everyone with a token reads it, staff write it."""

import pytest
from django.db import IntegrityError, transaction

from orders.models import MAX_AMOUNT, Product
from staff.models import LogEntry
from tests.integration.orders import harness

MUG = {"sku": "MUG", "name": "Mug", "unit_amount": 1250, "currency": "eur"}


def add(client, **changes):
    return client.post(harness.PRODUCTS, MUG | changes, content_type=harness.JSON)


def test_staff_add_a_product_and_everyone_reads_it(staff, ada):
    answer = add(staff)
    assert answer.status_code == 201
    assert answer.json() == MUG | {"active": True}
    assert answer.headers["Location"] == f"{harness.PRODUCTS}MUG/"
    assert ada.get(answer.headers["Location"]).json() == answer.json()
    assert ada.get(harness.PRODUCTS).json() == {
        "results": [answer.json()],
        "next": None,
        "previous": None,
    }


def test_products_come_by_sku_page_by_page(staff, ada):
    for sku in ("C", "A", "B"):
        add(staff, sku=sku)
    first = ada.get(f"{harness.PRODUCTS}?limit=2").json()
    second = ada.get(first["next"]).json()
    assert [product["sku"] for product in first["results"] + second["results"]] == ["A", "B", "C"]


def test_customers_change_nothing(ada, mug):
    assert add(ada, sku="TEE").status_code == 403
    assert (
        ada.patch(
            f"{harness.PRODUCTS}MUG/", {"unit_amount": 1}, content_type=harness.JSON
        ).status_code
        == 403
    )
    assert Product.objects.get().unit_amount == 1250


def test_a_sku_is_there_once(staff):
    add(staff)
    again = add(staff, name="Another")
    assert again.status_code == 409
    assert again.json()["type"] == "/errors/sku-taken"


def test_staff_change_a_product(staff, mug):
    changes = {"name": "Big mug", "unit_amount": 1500, "active": False}
    body = changes | {"reason": "It is bigger."}
    answer = staff.patch(f"{harness.PRODUCTS}MUG/", body, content_type=harness.JSON)
    assert answer.status_code == 200
    assert answer.json() == {"sku": "MUG", "currency": "eur"} | changes
    assert (
        staff.patch(f"{harness.PRODUCTS}MUG/", {}, content_type=harness.JSON).json()
        == answer.json()
    )


def test_a_change_without_a_body_is_refused_rather_than_taken_for_none(staff, mug):
    answer = staff.patch(f"{harness.PRODUCTS}MUG/")
    assert answer.status_code == 400
    assert harness.fields(answer) == {"": "required"}


def test_what_is_not_there_is_not_found(staff):
    for sku in ("NONE", "%00", "a%20b", "x" * 65, "%F0%9F%98%80"):
        assert staff.get(f"{harness.PRODUCTS}{sku}/").status_code == 404
        answer = staff.patch(
            f"{harness.PRODUCTS}{sku}/", {"active": False}, content_type=harness.JSON
        )
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "changes",
    [
        {"sku": ""},
        {"sku": "a b"},
        {"sku": "MUG\n"},
        {"sku": "a/b"},
        {"sku": "x" * 65},
        {"sku": None},
        {"name": ""},
        {"name": "x" * 201},
        {"unit_amount": 0},
        {"unit_amount": -1},
        {"unit_amount": 12.5},
        {"unit_amount": "1250"},
        {"unit_amount": True},
        {"unit_amount": MAX_AMOUNT + 1},
        {"currency": "EUR"},
        {"currency": "euro"},
        {"currency": "eur\n"},
        {"active": "yes"},
        {"id": 1},
    ],
    ids=repr,
)
def test_a_product_that_cannot_be_is_refused_field_by_field(staff, changes):
    answer = add(staff, **changes)
    assert answer.status_code == 400
    assert set(harness.fields(answer)) == set(changes)


def test_the_sku_of_a_product_does_not_change(staff, mug):
    answer = staff.patch(f"{harness.PRODUCTS}MUG/", {"sku": "CUP"}, content_type=harness.JSON)
    assert harness.fields(answer) == {"sku": "unknown"}


@pytest.mark.parametrize(
    ("column", "value"), [("unit_amount", -1), ("currency", "EUR"), ("sku", "a b"), ("sku", "a\n")]
)
def test_the_database_refuses_a_product_that_cannot_be(mug, column, value):
    with pytest.raises(IntegrityError), transaction.atomic():
        Product.objects.update(**{column: value})


@pytest.mark.parametrize("price", [{"unit_amount": 1500}, {"currency": "usd"}])
def test_a_new_price_needs_a_reason_which_the_log_keeps(staff, mug, price):
    def change(**body):
        return staff.patch(f"{harness.PRODUCTS}MUG/", body, content_type=harness.JSON)

    refused = change(**price)
    assert (refused.status_code, harness.fields(refused)) == (400, {"reason": "required_for_price"})
    blank = change(**price, reason=" \n")
    assert blank.json()["errors"][0]["detail"] == (
        "Give a text that is more than spaces and line breaks."
    )
    assert change(name="Cup", unit_amount=1250, currency="eur").status_code == 200
    assert Product.objects.get().unit_amount == 1250
    assert change(**price, reason="The supplier raised it.").status_code == 200
    entries = LogEntry.objects.order_by("seq").values_list("what", "why")
    assert list(entries) == [
        ("failed", ""),
        ("done", ""),
        ("done", "The supplier raised it."),
    ]


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"currency": "EURO"}, "Give the three lower-case letters of an ISO 4217 code"),
        ({"sku": "-"}, "Begin with a letter or a digit"),
    ],
)
def test_a_text_of_a_wrong_form_is_answered_in_words(staff, wrong, detail):
    (error,) = add(staff, **wrong).json()["errors"]
    assert error["field"] in wrong
    assert error["detail"].startswith(detail)
