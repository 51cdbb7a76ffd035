"""A free order takes no step of payments, whichever saga new orders have."""

import pytest

from audit.run import audit
from inventory.models import Reservation, StockItem
from orders.models import Order
from orders.saga import SAGAS
from orders.services import cancel_order
from payments.models import Payment, SimulatedCharge
from sagas.testing import story
from tests.integration.audit.harness import open_free_shop, place, record_timeline

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("steps_of_the_shop"),
    pytest.mark.parametrize("first", ["charge", "authorize"]),
]

RESERVED, FULFILLED = "inventory.reserve", "orders.fulfil"
STEPS = [RESERVED, FULFILLED, "inventory.ship"]


@pytest.fixture(autouse=True)
def free_products(settings):
    settings.FREE_PRODUCTS = True


def order(first, *skus):
    """Begin the story of an order for two pieces of each SKU; by default, of a gift."""
    open_free_shop()
    saga = SAGAS[f"{first}_first"]
    return story(saga, lambda: place(*skus or ("GIFT",), first=first))


def assert_sound(told, status):
    """Assert the end of a free order. It has no money, and the audit finds nothing."""
    record_timeline()
    row = Order.objects.get(id=told.saga)
    assert (row.status, row.amount, row.currency) == (status, 0, "eur")
    assert not any(event.startswith("payment.") for event in told.events)
    assert not Payment.objects.exists()
    assert not SimulatedCharge.objects.exists()
    assert not StockItem.objects.exclude(reserved=0).exists()
    report = audit(expect_ended=True)
    assert [verdict.shown for verdict in report.verdicts if verdict.shown] == []


def test_a_free_order_is_reserved_fulfilled_and_shipped_without_payments(first):
    told = order(first).run()

    told.expect(ended="done", done=STEPS, undone=[], refused=[], needs_attention=False)
    assert_sound(told, "fulfilled")
    assert Reservation.objects.get(order_id=told.saga).state == "shipped"


def test_the_plan_of_a_free_order_names_no_step_of_payments_and_is_cancelled_at_home(first):
    plan = order(first).run().tracked.plan

    assert plan["saga"] == SAGAS[f"{first}_first"].name
    steps = plan["steps"]
    assert [step["name"] for step in steps] == STEPS
    assert [step["name"] for step in steps if step.get("pivot")] == [FULFILLED]
    # A worker of the last release refuses a plan with a field that it does not know.
    assert {key for step in steps for key in step} == {"name", "undo", "pivot"}


def test_a_free_order_out_of_stock_has_nothing_to_undo(first):
    told = order(first, "POSTER").run()

    told.expect(ended="cancelled", refused=[RESERVED], undone=[])
    assert_sound(told, "cancelled")
    assert told.tracked.failure_code == "out_of_stock"


def test_a_free_order_of_which_one_product_is_sold_out_reserves_none(first):
    told = order(first, "GIFT", "POSTER").run()

    told.expect(ended="cancelled", refused=[RESERVED], undone=[])
    assert_sound(told, "cancelled")


@pytest.mark.parametrize(
    ("reached", "undone"), [("order.created", []), (RESERVED, [RESERVED])], ids=["at once", "late"]
)
def test_a_cancel_releases_the_stock_and_refunds_nothing(first, reached, undone):
    told = order(first).newest_first()
    if reached == RESERVED:
        told.run(until=RESERVED)

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="cancelled", undone=undone)
    assert_sound(told, "cancelled")
    assert told.tracked.failure_code == "cancelled_by_customer"


def test_a_refused_pivot_releases_the_stock(first):
    told = order(first).when(FULFILLED).refuses(code="refused").run()

    told.expect(ended="cancelled", refused=[FULFILLED], undone=[RESERVED])
    assert_sound(told, "cancelled")


def test_a_free_order_that_is_given_up_is_undone(first):
    told = order(first).when(RESERVED).raises(RuntimeError("boom")).run()

    told.expect(ended="cancelled", refused=[RESERVED], undone=[RESERVED])
    assert_sound(told, "cancelled")


@pytest.mark.parametrize("seed", range(3))
def test_a_cancel_in_any_order_ends_a_free_order_once(first, seed):
    told = order(first).in_any_order(seed).with_duplicates()

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="cancelled")
    assert_sound(told, "cancelled")


def test_an_order_with_a_free_and_a_priced_line_is_charged_the_sum(first):
    told = order(first, "GIFT", "MUG").run()

    told.expect(ended="done", undone=[], refused=[])
    payment = Payment.objects.get(order_id=told.saga)
    assert (payment.status, payment.amount, payment.captured) == ("captured", 2500, 2500)
    shipped = Reservation.objects.filter(order_id=told.saga, state="shipped")
    assert sorted(str(row.item_id) for row in shipped) == ["GIFT", "MUG"]


def test_the_audit_finds_money_of_a_free_order(first):
    told = order(first).run()
    record_timeline()
    SimulatedCharge.objects.create(
        key="a charge of nothing",
        order_id=told.saga,
        kind="capture",
        charge_id="ch_of_nothing",
        amount=2500,
        currency="eur",
    )

    found = {verdict.invariant.id for verdict in audit().verdicts if verdict.shown}
    assert {"I3", "I4", "I5"} <= found
