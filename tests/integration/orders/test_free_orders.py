"""Free products and free orders over REST and in the admin. FREE_PRODUCTS allows them."""

import pytest
from django.urls import reverse

from orders.models import IdempotencyKey, Order, Outbox, Product
from orders.payment_summaries import UNKNOWN
from tests.integration.orders import harness

GIFT = {"sku": "GIFT", "name": "Gift", "unit_amount": 0, "currency": "eur"}
ONE_GIFT = {"lines": [{"sku": "GIFT", "quantity": 1}]}


@pytest.fixture
def free_products(settings):
    settings.FREE_PRODUCTS = True


@pytest.fixture
def gift(db):
    return harness.stocked("GIFT", unit_amount=0)


def add(client, **changes):
    return client.post(harness.PRODUCTS, GIFT | changes, content_type=harness.JSON)


def change(client, **changes):
    body = {"reason": "It is a gift."} | changes
    return client.patch(f"{harness.PRODUCTS}MUG/", body, content_type=harness.JSON)


def first_plan():
    return [step["name"] for step in Outbox.objects.latest("id").plan["steps"]]


@pytest.mark.usefixtures("free_products")
class TestAllowed:
    def test_a_free_product_is_added_and_a_price_is_changed_to_0(self, staff, mug):
        assert add(staff).json() == GIFT | {"active": True}
        assert change(staff, unit_amount=0).json()["unit_amount"] == 0

    def test_a_free_product_has_a_currency_all_the_same(self, staff, db):
        without = {name: value for name, value in GIFT.items() if name != "currency"}
        missing = staff.post(harness.PRODUCTS, without, content_type=harness.JSON)
        assert harness.fields(missing) == {"currency": "required"}
        assert harness.fields(add(staff, currency="zzz")) == {"currency": "unknown_currency"}

    def test_a_price_below_0_is_invalid(self, staff, mug):
        for answer in (add(staff, unit_amount=-1), change(staff, unit_amount=-1)):
            assert answer.json()["errors"] == [
                {"field": "unit_amount", "code": "invalid", "detail": "Expected int >= 0."}
            ]

    def test_the_gateway_is_not_asked_about_0(self, staff, settings, db):
        settings.PAYMENT_GATEWAY = "stripe"
        assert add(staff).status_code == 201
        assert add(staff, sku="DEAR", unit_amount=12_345, currency="kwd").status_code == 422

    @pytest.mark.parametrize("saga", ["charge_first", "authorize_first"])
    def test_a_free_order_needs_no_payment_method_and_shows_its_amount_as_0(
        self, ada, gift, settings, saga
    ):
        settings.ORDER_SAGA = saga
        placed = harness.place(ada, ONE_GIFT)
        assert placed.status_code == 201
        assert (placed.json()["amount"], placed.json()["currency"]) == (0, "eur")
        assert placed.json()["lines"] == [{"sku": "GIFT", "quantity": 1, "unit_amount": 0}]
        assert not any(step.startswith("payments.") for step in first_plan())
        row = Order.objects.get()
        assert (row.amount, row.payment_method) == (0, "")

    def test_a_payment_method_of_a_free_order_is_kept_and_not_used(self, ada, gift):
        assert harness.place(ada, harness.body_for(("GIFT", 2))).status_code == 201
        assert Order.objects.get().payment_method == "pm_card_visa"
        assert "payments.charge" not in first_plan()

    @pytest.mark.usefixtures("steps_of_the_shop")
    def test_a_mixed_order_costs_the_sum_and_needs_a_payment_method(self, ada, gift, mug):
        body = harness.body_for(("GIFT", 3), ("MUG", 2))
        lines = {"lines": body["lines"]}
        refused = harness.place(ada, lines, key="k")
        assert harness.fields(refused) == {"payment_method": "required"}
        assert not Order.objects.exists()
        placed = harness.place(ada, body, key="k")
        assert (placed.status_code, placed.json()["amount"]) == (201, 2500)
        assert first_plan()[0] == "payments.charge"

    def test_the_sum_of_a_mixed_order_must_be_chargeable(self, ada, gift, settings):
        settings.PAYMENT_GATEWAY = "stripe"
        harness.stocked("STICKER", unit_amount=20)
        refused = harness.place(ada, harness.body_for(("GIFT", 1), ("STICKER", 1)))
        assert (refused.status_code, refused.json()["type"]) == (422, "/errors/not-chargeable")

    @pytest.mark.parametrize(("expected", "status"), [(0, 201), (1, 409)])
    def test_a_customer_agrees_to_an_amount_of_0(self, ada, gift, expected, status):
        body = ONE_GIFT | {"expected_amount": expected, "expected_currency": "eur"}
        answer = harness.place(ada, body)
        assert answer.status_code == status
        if status == 409:
            assert (answer.json()["amount"], answer.json()["currency"]) == (0, "eur")

    def test_a_repeated_request_gets_the_same_free_order(self, ada, gift):
        first = harness.place(ada, ONE_GIFT, key="k")
        assert harness.place(ada, ONE_GIFT, key="k").content == first.content
        assert Order.objects.count() == 1

    def test_a_cancel_is_decided_at_once(self, ada, gift, settings):
        settings.ORDER_SAGA = "authorize_first"
        order = harness.place(ada, ONE_GIFT).json()["id"]
        answer = ada.post(harness.path(order, "cancel/"))
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
        assert answer.json()["amount"] == 0


def test_a_free_order_is_known_to_have_no_payment_also_if_payments_do_not_answer(
    staff, monkeypatch
):
    free, priced = harness.order(amount=0), harness.order()
    monkeypatch.setattr(
        "orders.api.resource.read_payments",
        lambda orders: dict.fromkeys(orders, UNKNOWN),
    )
    assert staff.get(harness.path(free)).json()["payment"] is None
    assert staff.get(harness.path(priced)).json()["payment"]["status"] == "unknown"


@pytest.fixture
def editor(client, db):
    admin = harness.user("root", is_staff=True)
    admin.is_superuser = True
    admin.save()
    client.force_login(admin)
    return client


def add_in_admin(editor):
    form = GIFT | {"active": "on", "reason": "It is a gift."}
    answer = editor.post(reverse("admin:orders_product_add"), form)
    return dict(answer.context["adminform"].form.errors.as_data()) if answer.context else {}


def test_the_admin_adds_a_free_product_if_the_setting_allows_it(editor, settings):
    [(field, errors)] = add_in_admin(editor).items()
    assert (field, [error.code for error in errors]) == ("unit_amount", ["not_chargeable"])
    assert "FREE_PRODUCTS" in str(errors[0])
    assert not Product.objects.exists()
    settings.FREE_PRODUCTS = True
    assert add_in_admin(editor) == {}
    assert Product.objects.get().unit_amount == 0


def test_the_admin_withdraws_a_free_product_after_the_setting_is_switched_off(editor, gift):
    page = reverse("admin:orders_product_change", args=[Product.objects.get(sku="GIFT").pk])
    form = {"name": "Gift", "unit_amount": 0, "currency": "eur"}
    assert editor.post(page, form).status_code == 302
    assert not Product.objects.get(sku="GIFT").active
    offered = editor.post(page, form | {"active": "on"}).context["adminform"].form
    assert [error.code for error in offered.errors.as_data()["unit_amount"]] == ["not_chargeable"]
    assert not Product.objects.get(sku="GIFT").active


class TestOff:
    @pytest.mark.parametrize("amount", [0, -1])
    def test_a_price_below_1_is_refused_as_ever(self, staff, mug, amount):
        for answer in (add(staff, unit_amount=amount), change(staff, unit_amount=amount)):
            assert answer.status_code == 400
            assert answer.json()["errors"] == [
                {"field": "unit_amount", "code": "invalid", "detail": "Expected int >= 1."}
            ]
        assert Product.objects.get().unit_amount == 1250

    def test_an_order_needs_a_payment_method_as_ever(self, ada, mug):
        answer = harness.place(ada, {"lines": [{"sku": "MUG", "quantity": 1}]})
        assert answer.status_code == 400
        assert answer.json()["errors"] == [
            {"field": "payment_method", "code": "required", "detail": "This field is required."}
        ]

    @pytest.mark.parametrize("amount", [0, -1])
    def test_an_expected_amount_below_1_is_invalid_as_ever(self, ada, mug, amount):
        answer = harness.place(ada, harness.body_for() | {"expected_amount": amount})
        assert answer.json()["errors"] == [
            {"field": "expected_amount", "code": "invalid", "detail": "Expected int >= 1."}
        ]

    @pytest.mark.parametrize("skus", [("GIFT",), ("GIFT", "MUG")])
    def test_a_product_that_became_free_before_is_not_sold(self, ada, gift, mug, skus):
        answer = harness.place(ada, harness.body_for(*((sku, 1) for sku in skus)))
        assert (answer.status_code, answer.json()["type"]) == (422, "/errors/not-chargeable")
        assert "FREE_PRODUCTS" in answer.json()["detail"]
        assert not IdempotencyKey.objects.exists()

    def test_such_a_product_is_withdrawn_and_not_offered_again(self, staff, gift):
        path = f"{harness.PRODUCTS}GIFT/"
        withdrawn = staff.patch(path, {"active": False}, content_type=harness.JSON)
        assert withdrawn.status_code == 200
        refused = staff.patch(path, {"active": True}, content_type=harness.JSON)
        assert (refused.status_code, refused.json()["type"]) == (422, "/errors/not-chargeable")

    def test_a_free_order_that_was_placed_before_is_answered_again(self, ada, gift, settings):
        settings.FREE_PRODUCTS = True
        body = ONE_GIFT | {"expected_amount": 0, "expected_currency": "eur"}
        first = harness.place(ada, body, key="k")
        settings.FREE_PRODUCTS = False
        again = harness.place(ada, body, key="k")
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert harness.fields(harness.place(ada, ONE_GIFT, key="l")) == {
            "payment_method": "required"
        }
