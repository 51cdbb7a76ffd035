"""Placing an order: one transaction, prices of the catalogue, and nothing half done."""

import pytest
from django.db import IntegrityError, transaction
from django.utils.dateparse import parse_datetime

from orders.models import MAX_AMOUNT, IdempotencyKey, Order, Outbox
from orders.saga import PLACE_ORDER
from tests.integration.orders import harness


def test_a_placed_order_is_answered_as_the_contract_says(ada, mug):
    answer = harness.place(ada, harness.body_for(("MUG", 2)))

    assert answer.status_code == 201
    order = answer.json()
    assert order == {
        "id": order["id"],
        "status": "pending",
        "amount": 2500,
        "currency": "eur",
        "lines": [{"sku": "MUG", "quantity": 2, "unit_amount": 1250}],
        "failure": None,
        "next_action": None,
        "needs_attention": False,
        "created_at": order["created_at"],
        "updated_at": order["created_at"],
    }
    assert answer.headers["Location"] == harness.path(order["id"])
    assert "Idempotency-Replayed" not in answer.headers
    assert ada.get(answer.headers["Location"]).json() == order


@pytest.mark.usefixtures("steps_of_the_shop")
def test_the_order_its_first_event_and_the_answer_commit_together(ada, mug):
    order_id = harness.place(ada, harness.body_for(("MUG", 2))).json()["id"]

    first = Outbox.objects.get(saga=order_id)
    assert (first.type, first.target, first.seq) == ("order.created", "payments.charge", 0)
    assert first.context == {
        "amount": 2500,
        "currency": "eur",
        "payment_method": "pm_card_visa",
        "lines": [{"sku": "MUG", "quantity": 2, "unit_amount": 1250}],
    }
    assert first.saga_started_at == Order.objects.get(id=order_id).created_at
    assert IdempotencyKey.objects.get(order_id=order_id).user.username == "ada"


def test_the_timeline_of_an_order_begins_with_the_order(ada, mug):
    placed = harness.place(ada, harness.body_for(("MUG", 2)))
    (created,) = ada.get(f"{placed.headers['Location']}timeline/").json()["results"]
    first = Outbox.objects.get(saga=placed.json()["id"])
    assert (created["type"], created["service"], created["detail"]) == (
        "order.created",
        "orders",
        first.data,
    )
    assert (created["step"], parse_datetime(created["at"])) == ("", first.created_at)


def test_nothing_is_left_of_an_order_whose_event_could_not_be_written(ada, mug, monkeypatch):
    monkeypatch.setattr(PLACE_ORDER, "plan", None)
    assert harness.place(ada).status_code == 500
    assert not Order.objects.exists()
    assert not IdempotencyKey.objects.exists()


def test_a_new_order_is_not_stalled(ada, mug, settings):
    order = Order.objects.get(id=harness.place(ada).json()["id"])
    assert (order.rescue_at - order.created_at).total_seconds() == settings.SAGA_STALL_SECONDS


def test_placing_costs_few_statements_however_many_lines(ada, django_assert_max_num_queries):
    skus = [harness.stocked(f"MUG-{number}").sku for number in range(100)]
    with django_assert_max_num_queries(12):
        answer = harness.place(ada, harness.body_for(*((sku, 1) for sku in skus)))
    assert [line["sku"] for line in answer.json()["lines"]] == skus


def test_an_order_keeps_the_price_it_was_placed_at(ada, staff, mug):
    order_id = harness.place(ada).json()["id"]
    price = {"unit_amount": 1, "reason": "A mistake."}
    staff.patch(f"{harness.PRODUCTS}MUG/", price, content_type=harness.JSON)
    assert ada.get(harness.path(order_id)).json()["amount"] == 1250
    assert harness.place(ada).json()["amount"] == 1


def test_what_cannot_be_ordered_is_named_line_by_line(ada, mug):
    harness.stocked("OLD", active=False)
    harness.stocked("TEE", currency="usd")
    answer = harness.place(
        ada, harness.body_for(("MUG", 1), ("NONE", 1), ("OLD", 1), ("TEE", 1), ("MUG", 2))
    )
    assert answer.status_code == 400
    assert harness.fields(answer) == {
        "lines[1].sku": "unknown_product",
        "lines[2].sku": "unknown_product",
        "lines[3].sku": "mixed_currencies",
        "lines[4].sku": "duplicate",
    }
    assert not Order.objects.exists()


def test_a_total_beyond_what_json_keeps_exactly_is_refused(ada):
    harness.stocked("YACHT", unit_amount=MAX_AMOUNT)
    assert harness.place(ada, harness.body_for(("YACHT", 1))).json()["amount"] == MAX_AMOUNT
    assert harness.fields(harness.place(ada, harness.body_for(("YACHT", 2)))) == {
        "lines": "amount_too_large"
    }


def test_a_request_that_was_refused_does_not_use_up_its_key(ada, mug):
    assert harness.place(ada, harness.body_for(("NONE", 1)), key="k").status_code == 400
    assert harness.place(ada, key="k").status_code == 201


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", "lost"),
        ("amount", -1),
        ("amount", MAX_AMOUNT + 1),
        ("currency", "EUR"),
        ("status", "cancelled"),
    ],
)
def test_the_database_refuses_an_order_that_cannot_be(db, column, value):
    made = harness.order()
    with pytest.raises(IntegrityError), transaction.atomic():
        Order.objects.filter(id=made.id).update(**{column: value})


@pytest.mark.parametrize(
    ("column", "value"), [("quantity", 0), ("quantity", 10_001), ("unit_amount", -1)]
)
def test_the_database_refuses_a_line_that_cannot_be(db, column, value):
    with pytest.raises(IntegrityError), transaction.atomic():
        harness.order().lines.update(**{column: value})
