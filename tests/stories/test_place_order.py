"""Every refusal and every undo of an order that is charged first."""

import pytest

from inventory.models import Reservation, StockItem
from orders.saga import PLACE_ORDER
from orders.services import cancel_order
from payments.models import Payment
from sagas.testing import story
from tests.integration.audit.harness import open_shop, place

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("steps_of_the_shop"),
]

CHARGED, RESERVED = "payments.charge", "inventory.reserve"
STEPS = ["payments.charge", "inventory.reserve", "orders.fulfil", "inventory.ship"]
UNDONE = ["inventory.reserve", "payments.charge"]


def order(*skus, method="pm_card_visa"):
    """Begin the story of an order for two pieces of each SKU."""
    open_shop()
    return story(PLACE_ORDER, lambda: place(*skus, method=method, first="charge"))


def assert_nothing_is_left(told, failure):
    """Assert that a cancelled order has no money and no stock, and names its failure."""
    row = told.tracked
    assert (row.status, row.failure_code) == ("cancelled", failure)
    captured = Payment.objects.filter(order_id=told.saga, status="captured")
    held = Reservation.objects.filter(order_id=told.saga, state="held")
    assert not captured.exists()
    assert not held.exists()
    assert not StockItem.objects.exclude(reserved=0).exists()


def test_an_order_without_faults_is_charged_and_shipped():
    told = order("MUG", "PLATE").run()

    told.expect(ended="done", done=STEPS, undone=[], refused=[], needs_attention=False)
    assert told.tracked.status == "fulfilled"
    assert Payment.objects.get(order_id=told.saga).status == "captured"


def test_a_declined_order_has_nothing_to_undo():
    told = order(method="pm_card_chargeDeclined").run()

    told.expect(ended="cancelled", refused=[CHARGED], undone=[], done=[])
    assert_nothing_is_left(told, "payment_declined")


def test_an_order_out_of_stock_is_refunded():
    told = order("VASE").run()

    told.expect(ended="cancelled", refused=[RESERVED], undone=[CHARGED])
    assert_nothing_is_left(told, "out_of_stock")


@pytest.mark.parametrize(
    ("step", "undone"),
    [(CHARGED, []), (RESERVED, [CHARGED]), ("orders.fulfil", UNDONE)],
)
def test_a_refusal_undoes_all_earlier_steps(step, undone):
    told = order().when(step).refuses(code="refused").run()

    told.expect(ended="cancelled", refused=[step], undone=undone)
    assert_nothing_is_left(told, "refused")


@pytest.mark.parametrize(
    ("step", "undone"),
    [(CHARGED, [CHARGED]), (RESERVED, UNDONE), ("orders.fulfil", UNDONE)],
)
def test_a_step_that_is_given_up_is_undone_with_all_earlier_steps(step, undone):
    told = order().when(step).raises(RuntimeError("boom")).run()

    told.expect(ended="cancelled", refused=[step], undone=undone)
    assert_nothing_is_left(told, "internal_error")


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_raises_a_few_times_is_done_once(step):
    told = order().when(step).raises(RuntimeError, times=3).run()

    told.expect(ended="done", done=STEPS)
    assert Payment.objects.get(order_id=told.saga).captured_amount in (None, 2500)


@pytest.mark.parametrize("method", ["pm_sim_timeout_charged", "pm_sim_timeout_lost"])
def test_a_charge_whose_answer_is_lost_is_made_once(method):
    order(method=method).run().expect(ended="done", done=STEPS)


def test_a_charge_whose_answer_is_lost_is_refunded_if_the_order_is_cancelled_meanwhile():
    told = order().when(CHARGED).loses_answer(times=None).run(attempts=1)
    told.expect(ended=None, waiting=[CHARGED])

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="cancelled", undone=[CHARGED])
    assert_nothing_is_left(told, "cancelled_by_customer")


@pytest.mark.parametrize(("reached", "undone"), [(CHARGED, [CHARGED]), (RESERVED, UNDONE)])
def test_a_customers_cancel_overtakes_the_order_and_undoes_what_ran(reached, undone):
    told = order().newest_first().run(until=reached)

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="cancelled", undone=undone)
    assert_nothing_is_left(told, "cancelled_by_customer")


@pytest.mark.parametrize("undo", ["payments.refund", "inventory.release", "orders.cancel"])
def test_an_undo_that_raises_is_tried_until_it_is_done(undo):
    told = order().when("orders.fulfil").refuses().when(undo).raises(RuntimeError, times=4).run()

    told.expect(ended="cancelled", undone=UNDONE)


@pytest.mark.parametrize("undo", ["payments.refund", "inventory.release", "orders.cancel"])
def test_an_undo_that_always_raises_needs_attention(undo):
    told = order().when("orders.fulfil").refuses().when(undo).raises(RuntimeError("boom")).run()

    told.expect(ended=None, waiting=[undo], needs_attention=True)


def test_a_shipment_that_always_raises_needs_attention_and_undoes_nothing():
    told = order().when("inventory.ship").raises(RuntimeError("boom")).run()

    told.expect(ended=None, done=STEPS[:3], waiting=["inventory.ship"], needs_attention=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_cancel_and_a_refusal_at_once_give_the_money_back_once_in_any_order(seed):
    told = order("VASE").in_any_order(seed).with_duplicates().run(until=CHARGED)

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="cancelled", undone=[CHARGED])
    assert Payment.objects.get(order_id=told.saga).refunded_amount == 16_000
