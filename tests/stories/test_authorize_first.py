"""Every refusal and every undo of an order that is authorized first and charged at its pivot."""

import pytest

from inventory.models import StockItem
from orders.saga import AUTHORIZE_FIRST
from orders.services import cancel_order
from payments.models import Payment
from sagas.testing import story
from tests.integration.audit.harness import open_shop, place

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("steps_of_the_shop"),
]

STEPS = [
    "payments.authorize",
    "inventory.reserve",
    "payments.capture",
    "orders.fulfil",
    "inventory.ship",
]
AUTHORIZED, RESERVED, CAPTURED, *_ = STEPS
UNDONE = [RESERVED, AUTHORIZED]


def order(*skus, method="pm_card_visa"):
    """Begin the story of an order for two pieces of each SKU."""
    open_shop()
    return story(AUTHORIZE_FIRST, lambda: place(*skus, method=method, first="authorize"))


def assert_nothing_is_left(told):
    """Assert that a cancelled order has no money and no stock."""
    assert told.tracked.status == "cancelled"
    assert not StockItem.objects.exclude(reserved=0).exists()
    payment = Payment.objects.filter(order_id=told.saga).first()
    assert payment is None or payment.status in {"void", "declined", "refunded"}


def test_an_order_without_faults_is_charged_at_its_pivot():
    order("MUG", "PLATE").run().expect(ended="done", done=STEPS, undone=[], refused=[])


@pytest.mark.parametrize(
    ("step", "undone"),
    [(AUTHORIZED, []), (RESERVED, [AUTHORIZED]), (CAPTURED, UNDONE)],
)
def test_a_refusal_undoes_all_earlier_steps(step, undone):
    told = order().when(step).refuses().run()

    told.expect(ended="cancelled", refused=[step], undone=undone)
    assert_nothing_is_left(told)


@pytest.mark.parametrize(("step", "undone"), [(AUTHORIZED, [AUTHORIZED]), (RESERVED, UNDONE)])
def test_a_step_that_is_given_up_is_undone_with_all_earlier_steps(step, undone):
    told = order().when(step).raises(RuntimeError("boom")).run()

    told.expect(ended="cancelled", refused=[step], undone=undone)
    assert_nothing_is_left(told)


def test_a_capture_is_never_given_up_because_nothing_could_undo_it():
    told = order().when(CAPTURED).raises(RuntimeError("boom")).run()

    told.expect(ended=None, done=STEPS[:2], waiting=[CAPTURED], needs_attention=True)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_raises_a_few_times_is_done_once(step):
    order().when(step).raises(RuntimeError, times=3).run().expect(ended="done", done=STEPS)


def test_a_declined_authorization_has_nothing_to_undo():
    told = order(method="pm_card_chargeDeclined").run()

    told.expect(ended="cancelled", refused=[AUTHORIZED], undone=[])
    assert_nothing_is_left(told)


def test_an_order_out_of_stock_is_never_charged():
    told = order("VASE").run()

    told.expect(ended="cancelled", refused=[RESERVED], undone=[AUTHORIZED])
    assert_nothing_is_left(told)


def test_a_cancel_before_the_capture_withholds_it():
    told = order().newest_first().run(until=RESERVED)

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="cancelled", undone=UNDONE)
    assert "payment.withheld" in told.events
    assert_nothing_is_left(told)


def test_a_cancel_after_the_capture_comes_too_late():
    told = order().run(until=CAPTURED)

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="done", done=STEPS, undone=[])
    assert told.tracked.status == "fulfilled"


def test_a_cancel_waits_for_a_capture_whose_answer_is_lost():
    told = order().run(until=RESERVED).when(CAPTURED).loses_answer(times=2).run(attempts=1)

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="done", done=STEPS, undone=[])


def test_a_cancel_that_raises_at_first_comes_too_late():
    told = order().newest_first().run(until=RESERVED)
    told.when("payments.withhold").raises(RuntimeError, times=4)

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="done", done=STEPS, undone=[], waiting=[])
    assert "payment.kept" in told.events


@pytest.mark.parametrize("undo", ["payments.void", "inventory.release", "orders.cancel"])
def test_an_undo_that_raises_is_tried_until_it_is_done(undo):
    told = order().newest_first().run(until=RESERVED).when(undo).raises(RuntimeError, times=4)

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="cancelled", undone=UNDONE)


@pytest.mark.parametrize("seed", range(5))
def test_a_cancel_and_a_refusal_at_once_release_all_in_any_order(seed):
    told = order("VASE").in_any_order(seed).with_duplicates().run(until=AUTHORIZED)

    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="cancelled", undone=[AUTHORIZED])
    assert_nothing_is_left(told)
