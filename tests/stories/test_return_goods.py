"""Every way of a return: received, in part, written off, refused, cancelled and expired."""

import pytest
from django.test import override_settings

from audit.run import audit
from inventory.models import StockAdjustment, StockItem, StockReturn
from payments.models import PartialRefund
from returns.events import ReturnApproved, ReturnCancelled, ReturnDeclined
from returns.models import Return, ReturnLine
from returns.saga import RETURN_GOODS
from returns.services import ReturnAcceptedError, cancel_return
from sagas import SignalResult
from sagas.testing import story
from tests.integration.audit.harness import record_timeline
from tests.integration.returns.factories import (
    ACCEPT,
    APPROVE,
    CLOSE,
    COMPLETE,
    RECEIVE,
    REFUND,
    RESTOCK,
    ask,
    fulfilled_free_order,
    fulfilled_order,
    propose,
    received,
    state_of,
)

pytestmark = pytest.mark.django_db(databases="__all__")

ALL = [RECEIVE, ACCEPT, REFUND, RESTOCK, COMPLETE]
MUG = 1250


def returned(**pieces):
    """Begin the story of a return of pieces of an order of two mugs and two plates."""
    order = fulfilled_order("MUG", "PLATE")
    return story(RETURN_GOODS, lambda: ask(order, **pieces))


def goodwill(amount):
    """Begin the story of money that is given out of goodwill for such an order."""
    order = fulfilled_order("MUG", "PLATE")
    return story(RETURN_GOODS, lambda: propose(order, amount))


def mugs():
    """Return the counters of the mugs: on hand, reserved, shipped and returned."""
    item = StockItem.objects.get(sku="MUG")
    return item.on_hand, item.reserved, item.shipped, item.returned


def assert_nothing_moved(told, status, code):
    """Assert that a return has ended without money and without goods."""
    row = told.tracked
    assert (row.status, row.failure_code) == (status, code)
    assert "payment.partly_refunded" not in told.events
    assert not StockReturn.objects.exists()
    assert mugs() == (95, 0, 2, 0)


def test_a_return_waits_for_its_goods_and_is_refunded():
    told = returned(MUG=2).run().expect(ended=None, waiting=[RECEIVE])
    assert told.tracked.status == "awaiting_goods"

    told.signals(RECEIVE, received(MUG=2)).run().expect(ended="done", done=ALL)

    assert (told.tracked.status, told.tracked.amount) == ("completed", 2 * MUG)
    assert mugs() == (97, 0, 2, 2)
    assert "payment.partly_refunded" in told.events


def test_only_the_pieces_that_came_back_are_refunded():
    told = returned(MUG=2, PLATE=1).run().signals(RECEIVE, received(MUG=1)).run()

    told.expect(ended="done", done=ALL)
    assert told.tracked.amount == MUG
    lines = ReturnLine.objects.filter(of_return=told.saga)
    assert list(lines.values_list("sku", "received")) == [("MUG", 1), ("PLATE", 0)]


def test_a_damaged_piece_is_refunded_and_written_off():
    told = returned(MUG=2).run().signals(RECEIVE, received(MUG=(1, 1))).run()

    told.expect(ended="done")
    assert told.tracked.amount == 2 * MUG
    assert mugs() == (96, 0, 2, 2)
    written_off = StockAdjustment.objects.latest("id")
    assert (written_off.quantity, written_off.by) == (-1, "returns")
    assert str(told.saga) in written_off.reason


def test_pieces_that_were_not_requested_count_for_nothing():
    told = returned(MUG=1).run().signals(RECEIVE, received(MUG=(5, 5), PLATE=2)).run()

    told.expect(ended="done")
    assert told.tracked.amount == MUG
    assert mugs() == (96, 0, 2, 1)


def test_a_return_of_which_nothing_came_back_is_refused():
    told = returned(MUG=2).run().signals(RECEIVE, received(MUG=0)).run()

    told.expect(ended="cancelled", refused=[ACCEPT])
    assert_nothing_moved(told, "refused", "nothing_received")


def test_staff_refuse_the_goods():
    told = returned(MUG=2).run().signals(RECEIVE, ReturnDeclined()).run()

    told.expect(ended="cancelled", refused=[RECEIVE])
    assert_nothing_moved(told, "refused", "return_declined")


def test_goods_that_do_not_come_in_time_cancel_the_return():
    told = returned(MUG=2).run().expires(RECEIVE).run()

    told.expect(ended="cancelled", refused=[RECEIVE])
    assert_nothing_moved(told, "cancelled", "goods_missing")
    told.signals(RECEIVE, received(MUG=2))
    assert told.signal_results == [SignalResult.TOO_LATE]


@override_settings(RETURN_APPROVAL_LIMITS={"eur": 2 * MUG - 1})
def test_a_refund_above_the_limit_waits_for_its_approval_first():
    told = returned(MUG=2).run().expect(ended=None, waiting=[APPROVE])
    assert told.tracked.status == "awaiting_approval"

    told.signals(APPROVE, ReturnApproved()).run().expect(ended=None, waiting=[RECEIVE])
    told.signals(RECEIVE, received(MUG=2)).run().expect(ended="done", done=[APPROVE, *ALL])


@override_settings(RETURN_APPROVAL_LIMITS={"eur": 2 * MUG})
def test_a_refund_at_the_limit_needs_no_approval():
    returned(MUG=2).run().expect(waiting=[RECEIVE])


@override_settings(RETURN_APPROVAL_LIMITS={"eur": 0})
def test_a_refused_approval_moves_nothing():
    told = returned(MUG=2).run().signals(APPROVE, ReturnDeclined(detail="Too late.")).run()

    told.expect(ended="cancelled", refused=[APPROVE])
    assert_nothing_moved(told, "refused", "return_declined")
    assert told.tracked.failure_detail == "Too late."


@override_settings(RETURN_APPROVAL_LIMITS={"eur": 0})
def test_an_approval_that_does_not_come_in_time_cancels_the_return():
    told = returned(MUG=2).run().expires(APPROVE).run()

    told.expect(ended="cancelled", refused=[APPROVE])
    assert_nothing_moved(told, "cancelled", "approval_expired")


def test_goodwill_is_refunded_without_goods_once_it_is_approved():
    told = goodwill(300).run().expect(ended=None, waiting=[APPROVE])

    told.signals(APPROVE, ReturnApproved()).run()

    told.expect(ended="done", done=[APPROVE, ACCEPT, REFUND, COMPLETE])
    assert (told.tracked.status, told.tracked.amount) == ("completed", 300)
    assert mugs() == (95, 0, 2, 0)


def test_goodwill_that_is_not_approved_moves_nothing():
    told = goodwill(300).run().signals(APPROVE, ReturnDeclined()).run()

    told.expect(ended="cancelled", refused=[APPROVE])
    assert_nothing_moved(told, "refused", "return_declined")


def test_a_customers_cancel_frees_the_pieces():
    told = returned(MUG=2).run()

    told.then(lambda: cancel_return(told.tracked)).run()

    told.expect(ended="cancelled")
    assert_nothing_moved(told, "cancelled", "cancelled_by_customer")
    told.signals(RECEIVE, received(MUG=2))
    assert told.signal_results == [SignalResult.TOO_LATE]


def test_a_cancel_before_the_first_step_stops_the_return():
    told = returned(MUG=2).newest_first()

    told.then(lambda: cancel_return(told.tracked)).run()

    told.expect(ended="cancelled")
    assert_nothing_moved(told, "cancelled", "cancelled_by_customer")


def test_an_accepted_return_cannot_be_cancelled():
    told = returned(MUG=2).signals(RECEIVE, received(MUG=2)).run(until=ACCEPT)

    def cancel():
        with pytest.raises(ReturnAcceptedError):
            cancel_return(told.tracked)

    told.then(cancel).run().expect(ended="done", done=ALL)


@pytest.mark.parametrize("seed", range(5))
def test_a_cancel_that_meets_the_goods_moves_all_or_nothing(seed):
    told = returned(MUG=2).in_any_order(seed).with_duplicates().run()
    told.signals(RECEIVE, received(MUG=2)).cancel(ReturnCancelled()).run()

    told.expect(ended="cancelled")
    assert mugs() == (95, 0, 2, 0)


@pytest.mark.parametrize("step", [ACCEPT, REFUND, RESTOCK, COMPLETE])
def test_a_step_that_raises_a_few_times_is_done_once(step):
    told = returned(MUG=2).signals(RECEIVE, received(MUG=(1, 1)))

    told.when(step).raises(RuntimeError, times=3).run().expect(ended="done", done=ALL)
    assert mugs() == (96, 0, 2, 2)


@pytest.mark.parametrize("step", [REFUND, RESTOCK, COMPLETE])
def test_a_step_after_the_decision_that_always_raises_needs_attention(step):
    told = returned(MUG=2).signals(RECEIVE, received(MUG=2))

    told.when(step).raises(RuntimeError("boom")).run()

    told.expect(ended=None, waiting=[step], needs_attention=True)


def test_an_acceptance_that_is_given_up_moves_nothing():
    told = returned(MUG=2).signals(RECEIVE, received(MUG=2))

    told.when(ACCEPT).raises(RuntimeError("boom")).run().expect(ended="cancelled", refused=[ACCEPT])
    assert_nothing_moved(told, "cancelled", "internal_error")


@pytest.mark.parametrize("undo", [CLOSE, f"{RECEIVE}.close"])
def test_an_undo_that_raises_is_tried_until_it_is_done(undo):
    told = returned(MUG=2).run().when(undo).raises(RuntimeError, times=4)

    told.then(lambda: cancel_return(told.tracked)).run().expect(ended="cancelled")


@pytest.mark.parametrize("seed", range(5))
def test_messages_in_any_order_and_twice_move_money_and_goods_once(seed):
    told = returned(MUG=2, PLATE=2).in_any_order(seed).with_duplicates()

    told.signals(RECEIVE, received(MUG=(1, 1), PLATE=1)).run().expect(ended="done", done=ALL)
    assert told.events.count("payment.partly_refunded") == 1
    assert mugs() == (96, 0, 2, 2)
    assert Return.objects.get(id=told.saga).amount == 2 * MUG + 900


def gifts():
    """Return the counters of the gifts: on hand, reserved, shipped and returned."""
    item = StockItem.objects.get(sku="GIFT")
    return item.on_hand, item.reserved, item.shipped, item.returned


def assert_sound():
    """Assert that the audit finds nothing, with all sagas ended."""
    record_timeline()
    report = audit(expect_ended=True)
    assert [verdict.shown for verdict in report.verdicts if verdict.shown] == []


@override_settings(RETURN_APPROVAL_LIMITS={"eur": 0})
def test_a_free_order_comes_back_without_a_refund_and_without_an_approval():
    order = fulfilled_free_order()
    told = story(RETURN_GOODS, lambda: ask(order, GIFT=2)).run().expect(waiting=[RECEIVE])

    told.signals(RECEIVE, received(GIFT=(1, 1))).run()

    told.expect(ended="done", done=[RECEIVE, ACCEPT, RESTOCK, COMPLETE])
    assert state_of(told.saga) == ("completed", 0, "")
    assert gifts() == (99, 0, 2, 2)
    assert not any(event.startswith("payment.") for event in told.events)
    assert not PartialRefund.objects.exists()
    assert_sound()


def test_a_free_return_of_which_nothing_came_back_is_refused():
    order = fulfilled_free_order()
    told = story(RETURN_GOODS, lambda: ask(order, GIFT=1)).run()

    told.signals(RECEIVE, received(GIFT=0)).run().expect(ended="cancelled", refused=[ACCEPT])

    assert state_of(told.saga) == ("refused", 0, "nothing_received")
    assert gifts() == (98, 0, 2, 0)


def test_the_free_line_of_a_priced_order_comes_back_without_a_refund():
    order = fulfilled_free_order("MUG", "GIFT")
    told = story(RETURN_GOODS, lambda: ask(order, GIFT=2)).run()

    told.signals(RECEIVE, received(GIFT=2)).run()

    told.expect(ended="done", done=[RECEIVE, ACCEPT, RESTOCK, COMPLETE])
    assert state_of(told.saga) == ("completed", 0, "")
    assert gifts() == (100, 0, 2, 2)


def test_of_a_mixed_return_only_the_free_pieces_come_back():
    """The plan has the refund, because a mug was requested, too. Its amount is 0."""
    order = fulfilled_free_order("MUG", "GIFT")
    told = story(RETURN_GOODS, lambda: ask(order, MUG=1, GIFT=1)).run()

    told.signals(RECEIVE, received(GIFT=1)).run()

    told.expect(ended="done", done=ALL)
    assert state_of(told.saga) == ("completed", 0, "")
    assert (mugs(), gifts()) == ((95, 0, 2, 0), (99, 0, 2, 1))
    assert not PartialRefund.objects.exists()
    assert_sound()


def test_of_a_mixed_return_the_price_of_all_pieces_is_refunded():
    order = fulfilled_free_order("MUG", "GIFT")
    told = story(RETURN_GOODS, lambda: ask(order, MUG=1, GIFT=2)).run()

    told.signals(RECEIVE, received(MUG=1, GIFT=2)).run().expect(ended="done", done=ALL)

    assert state_of(told.saga) == ("completed", MUG, "")
    assert PartialRefund.objects.get().refunded_amount == MUG
    assert_sound()
