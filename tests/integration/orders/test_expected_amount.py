"""The amount that the customer agreed to: the order is placed with it, or not at all."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from orders import placing, services
from orders.catalogue import LineWanted
from orders.models import IdempotencyKey, Order, Outbox, Product
from orders.services import NewOrder
from tests.integration.orders import harness
from tests.integration.races import at_once


def agreed(**expected):
    return harness.body_for(("MUG", 2)) | {
        f"expected_{name}": value for name, value in expected.items()
    }


@pytest.mark.parametrize(
    "expected",
    [{"amount": 2500, "currency": "eur"}, {"amount": 2500}, {"currency": "eur"}, {}],
    ids=repr,
)
def test_an_order_with_the_agreed_amount_is_placed(ada, mug, expected):
    answer = harness.place(ada, agreed(**expected))
    assert (answer.status_code, answer.json()["amount"]) == (201, 2500)


@pytest.mark.parametrize(
    "expected",
    [
        {"amount": 2499, "currency": "eur"},
        {"amount": 2501, "currency": "eur"},
        {"amount": 2500, "currency": "usd"},
        {"amount": 2499},
        {"currency": "usd"},
    ],
    ids=repr,
)
def test_an_order_with_another_amount_is_refused_and_nothing_is_placed(ada, mug, expected):
    answer = harness.place(ada, agreed(**expected))

    assert answer.status_code == 409
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "/errors/amount-changed"
    assert (problem["amount"], problem["currency"]) == (2500, "eur")
    assert not Order.objects.exists()
    assert not Outbox.objects.exists()
    assert not IdempotencyKey.objects.exists()


def test_the_key_is_free_for_the_order_that_the_customer_then_agrees_to(ada, mug):
    refused = harness.place(ada, agreed(amount=2400, currency="eur"), key="k").json()
    present = {name: refused[name] for name in ("amount", "currency")}

    placed = harness.place(ada, agreed(**present), key="k")
    assert (placed.status_code, placed.json()["amount"]) == (201, 2500)
    assert "Idempotency-Replayed" not in placed.headers


def test_the_answer_to_a_placed_order_is_repeated_after_the_price_has_changed(ada, mug):
    first = harness.place(ada, agreed(amount=2500, currency="eur"), key="k")
    Product.objects.update(unit_amount=1400)

    again = harness.place(ada, agreed(amount=2500, currency="eur"), key="k")
    assert (again.status_code, again.content) == (201, first.content)
    assert Order.objects.count() == 1


def test_another_agreement_with_the_key_of_a_placed_order_is_another_order(ada, mug):
    harness.place(ada, agreed(amount=2500, currency="eur"), key="k")
    Product.objects.update(unit_amount=1400)

    for other in ({"amount": 2800, "currency": "eur"}, {"amount": 2500}, {}):
        answer = harness.place(ada, agreed(**other), key="k")
        assert (answer.status_code, answer.json()["type"]) == (
            422,
            "/errors/idempotency-key-reused",
        )


def test_an_order_without_an_expectation_has_the_fingerprint_of_earlier_releases():
    new = NewOrder(lines=(LineWanted("MUG", 1),), payment_method="pm_card_visa")
    assert new.fingerprint() == "e41621609dac93d38d64bb802ab1a0eda055981b324c8dffd59d13e03e31c1c7"


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 0},
        {"amount": -2500},
        {"amount": "2500"},
        {"amount": 2500.0},
        {"amount": True},
        {"amount": None},
        {"amount": 2**53},
        {"amount": 2**64},
        {"currency": "EUR"},
        {"currency": ""},
        {"currency": "euro"},
        {"currency": None},
    ],
    ids=repr,
)
def test_an_expectation_that_cannot_be_met_is_invalid_input(ada, mug, wrong):
    answer = harness.place(ada, agreed(**wrong))
    assert answer.status_code == 400
    assert set(harness.fields(answer)) == {f"expected_{name}" for name in wrong}


@pytest.mark.django_db(transaction=True)
def test_a_price_that_changes_while_the_order_is_placed_does_not_reach_it(monkeypatch):
    client = harness.client_of("ada")
    harness.stocked()

    def change_after_lookup(*given):
        found = placing.lookup(*given)
        at_once([partial(Product.objects.update, unit_amount=9900)])
        return found

    monkeypatch.setattr(services, "lookup", change_after_lookup)
    answer = harness.place(client, agreed(amount=2500, currency="eur"))

    assert answer.status_code == 201
    order = Order.objects.get()
    assert (order.amount, order.lines.get().unit_amount) == (2500, 1250)
    assert Outbox.objects.get().context["amount"] == 2500
    assert harness.place(client, agreed(amount=2500, currency="eur")).json()["amount"] == 19_800


@pytest.mark.django_db(transaction=True)
def test_orders_placed_while_prices_change_have_the_amount_that_was_agreed_to():
    customers = [harness.client_of(name) for name in ("ada", "bob", "eve")]
    staff = harness.client_of("sam", *harness.STAFF)
    harness.stocked()

    def order(client):
        return [harness.place(client, agreed(amount=2500, currency="eur")) for _ in range(20)]

    def change_prices():
        for unit_amount in (1400, 1250) * 15:
            price = {"unit_amount": unit_amount, "reason": "A sale."}
            changed = staff.patch(f"{harness.PRODUCTS}MUG/", price, content_type=harness.JSON)
            assert changed.status_code == 200
        return []

    calls: list[Callable[[], list[Any]]] = [partial(order, client) for client in customers]
    answers = [answer for found in at_once([*calls, change_prices]) for answer in found]

    placed = [answer.json() for answer in answers if answer.status_code == 201]
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert len(placed) + len(refused) == 60
    assert {order["amount"] for order in placed} <= {2500}
    assert {problem["amount"] for problem in refused} <= {2800}
    assert Order.objects.count() == Order.objects.filter(amount=2500).count() == len(placed)
