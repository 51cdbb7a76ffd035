"""A price that the gateway cannot charge is refused before an order is placed, in words."""

import pytest
from django.test import override_settings
from django.urls import reverse

from orders.models import MAX_AMOUNT, IdempotencyKey, Order, Outbox, Product
from orders.price_check import CURRENCIES, reason_not_sellable
from payments.gateways.simulated.currencies import CURRENCIES as SIMULATED
from payments.gateways.stripe.currencies import SUPPORTED
from sagas.currencies import ISO_EXPONENTS
from tests.integration.orders import harness

MUG = {"sku": "MUG", "name": "Mug", "unit_amount": 1250, "currency": "eur"}

# Stripe still names the dobra that ISO 4217 replaced in 2018.
WITHDRAWN = {"std"}

# A price, and a part of the words for it.
NEVER_CHARGEABLE = [
    ({"currency": "kwd", "unit_amount": 12_345}, "steps"),
    ({"currency": "mga", "unit_amount": 125_050}, "steps"),
    ({"currency": "eur", "unit_amount": 100_000_000}, "at most 999,999.99 EUR"),
    ({"currency": "eur", "unit_amount": MAX_AMOUNT}, "at most 999,999.99 EUR"),
    ({"currency": "irr", "unit_amount": 1250}, "IRR"),
]


@pytest.fixture(autouse=True)
def stripe(settings):
    settings.PAYMENT_GATEWAY = "stripe"


def add(client, **changes):
    return client.post(harness.PRODUCTS, MUG | changes, content_type=harness.JSON)


def change(client, **changes):
    body = {"reason": "The supplier raised it."} | changes
    return client.patch(f"{harness.PRODUCTS}MUG/", body, content_type=harness.JSON)


def assert_refused(answer, words):
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/errors/not-chargeable"
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(("price", "words"), NEVER_CHARGEABLE)
def test_a_product_that_can_never_be_charged_is_not_added(staff, price, words):
    assert_refused(add(staff, **price), words)
    assert not Product.objects.exists()


@pytest.mark.parametrize(("price", "words"), NEVER_CHARGEABLE)
def test_a_product_keeps_its_price_if_the_new_one_can_never_be_charged(staff, mug, price, words):
    assert_refused(change(staff, **price, name="Cup"), words)
    assert Product.objects.values_list("name", "unit_amount", "currency").get() == (
        "Mug",
        1250,
        "eur",
    )


def test_a_change_of_the_currency_alone_is_checked_with_the_price_that_stays(staff):
    harness.stocked("MUG", unit_amount=12_345)
    assert_refused(change(staff, currency="kwd"), "steps")
    assert change(staff, currency="kwd", unit_amount=12_340).status_code == 200
    assert_refused(change(staff, unit_amount=12_345), "steps")


@pytest.mark.parametrize(
    "price",
    [
        {"currency": "isk", "unit_amount": 5_000},
        {"currency": "jpy", "unit_amount": 5_000},
        {"currency": "kwd", "unit_amount": 12_340},
        {"currency": "mga", "unit_amount": 125_000},
        {"currency": "eur", "unit_amount": 99_999_999},
        {"currency": "eur", "unit_amount": 20},
    ],
    ids=repr,
)
def test_a_product_that_can_be_charged_in_some_quantity_is_added(staff, price):
    assert add(staff, **price).status_code == 201


@pytest.mark.parametrize("code", ["zzz", "xau", "xxx", "xts", "eux"])
@pytest.mark.parametrize("gateway", ["simulated", "stripe"])
def test_a_currency_outside_of_iso_4217_is_invalid_input(staff, mug, settings, code, gateway):
    settings.PAYMENT_GATEWAY = gateway
    for answer in (add(staff, sku="NEW", currency=code), change(staff, currency=code)):
        assert answer.status_code == 400
        assert harness.fields(answer) == {"currency": "unknown_currency"}
    assert Product.objects.get().currency == "eur"


@pytest.mark.parametrize(
    ("product", "quantity", "words"),
    [
        ({"currency": "kwd", "unit_amount": 12_345}, 1, "steps"),
        ({"currency": "eur", "unit_amount": 20}, 1, "at least 0.50 EUR"),
        ({"currency": "eur", "unit_amount": 50_000_000}, 2, "at most 999,999.99 EUR"),
        ({"currency": "eur", "unit_amount": MAX_AMOUNT}, 1, "at most 999,999.99 EUR"),
        ({"currency": "irr", "unit_amount": 1250}, 1, "IRR"),
        ({"currency": "zzz", "unit_amount": 1250}, 1, "ZZZ is not a currency of ISO 4217"),
    ],
)
def test_an_order_that_cannot_be_charged_is_refused_and_nothing_is_placed(
    ada, product, quantity, words
):
    harness.stocked("MUG", **product)
    assert_refused(harness.place(ada, harness.body_for(("MUG", quantity)), key="k"), words)
    assert not Order.objects.exists()
    assert not Outbox.objects.exists()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize(("quantity", "status"), [(2, 422), (3, 201)])
def test_more_pieces_of_a_cheap_product_can_be_charged(ada, quantity, status):
    harness.stocked("STICKER", unit_amount=20)
    assert harness.place(ada, harness.body_for(("STICKER", quantity))).status_code == status


def test_an_order_is_placed_with_the_key_of_a_refused_one(ada):
    harness.stocked("STICKER", unit_amount=20)
    assert harness.place(ada, harness.body_for(("STICKER", 1)), key="k").status_code == 422
    assert harness.place(ada, harness.body_for(("STICKER", 5)), key="k").status_code == 201


def test_a_placed_order_is_repeated_although_the_gateway_charges_it_no_more(ada, settings):
    settings.PAYMENT_GATEWAY = "simulated"
    harness.stocked("MUG", unit_amount=20)
    first = harness.place(ada, key="k")
    settings.PAYMENT_GATEWAY = "stripe"
    assert harness.place(ada, key="k").content == first.content


def test_a_product_that_cannot_be_charged_can_be_withdrawn_but_not_offered_again(staff):
    harness.stocked("MUG", currency="irr")
    assert change(staff, active=False, name="Old mug").status_code == 200
    assert_refused(change(staff, active=True), "IRR")
    assert change(staff, active=True, currency="eur").status_code == 200


@pytest.fixture
def editor(client, db):
    admin = harness.user("root", is_staff=True)
    admin.is_superuser = True
    admin.save()
    client.force_login(admin)
    return client


def edit(client, **changes):
    product = Product.objects.get()
    form = {name: getattr(product, name) for name in ("sku", "name", "unit_amount", "currency")}
    form["reason"] = "The supplier raised it."
    answer = client.post(reverse("admin:orders_product_change", args=[product.pk]), form | changes)
    return dict(answer.context["adminform"].form.errors.as_data()) if answer.context else {}


def codes(errors):
    return {field: [error.code for error in found] for field, found in errors.items()}


def test_the_admin_refuses_what_the_api_refuses(editor, mug):
    assert codes(edit(editor, currency="kwd", unit_amount=12_345)) == {
        "unit_amount": ["not_chargeable"]
    }
    assert codes(edit(editor, currency="zzz")) == {"currency": ["unknown_currency"]}
    added = editor.post(
        reverse("admin:orders_product_add"), MUG | {"sku": "CUP", "currency": "irr"}
    )
    assert "unit_amount" in added.context["adminform"].form.errors
    assert Product.objects.values_list("sku", "currency").get() == ("MUG", "eur")


def test_the_admin_withdraws_a_product_that_cannot_be_charged(editor):
    harness.stocked("MUG", currency="irr")
    assert edit(editor, name="Old mug") == {}  # without `active`, as an empty checkbox is sent
    assert Product.objects.values_list("name", "active").get() == ("Old mug", False)
    assert codes(edit(editor, active="on")) == {"unit_amount": ["not_chargeable"]}


def test_the_currencies_are_those_that_the_gateways_count():
    assert set(ISO_EXPONENTS) <= CURRENCIES
    assert set(SUPPORTED.split()) - CURRENCIES == WITHDRAWN
    assert set(SIMULATED.table) <= CURRENCIES
    assert all(len(code) == 3 and code.islower() for code in CURRENCIES)


def only_even_amounts(amount, currency):
    return "Only even amounts." if amount % 2 else ""


def test_the_setting_names_any_function():
    with override_settings(PRICE_CHECK=f"{__name__}.only_even_amounts"):
        assert reason_not_sellable(1251, "eur") == "Only even amounts."
        assert reason_not_sellable(1250, "eur") == ""
