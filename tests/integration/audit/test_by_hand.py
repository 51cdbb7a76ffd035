"""A step marked as done by hand commits what its success would: the order goes on, and the audit
stays clean.
"""

import pytest

from audit.run import audit
from inventory.models import Inbox as InventoryInbox
from inventory.models import Reservation
from orders.models import Order, TimelineEvent
from payments.models import Drift, Inbox, Outbox, Payment, SimulatedCharge
from payments.reconciliation import next_window, reconcile
from sagas.definition.handlers import ManualCompletionRefused, ManualConfirmation
from sagas.operations import holds, manual
from sagas.operations.manual import mark_done
from sagas.storage.registry import get_service
from tests.integration.audit import shop
from tests.integration.races import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

WORD = ManualConfirmation(
    by="olga", evidence="Refunded in the gateway's dashboard at noon.", reference="re_by_hand"
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No thread flushes by itself."""
    monkeypatch.setattr(manual, "request_flush", lambda service: None)
    shop.open_shop()


def to_be_refunded():
    """Return an order that is being cancelled, and whose refund is on hold."""
    order = shop.place("MUG")
    shop.deliver("payments.charge", order)
    holds.hold(
        get_service("payments"),
        step="payments.refund",
        by="olga",
        why="The gateway refuses refunds.",
    )
    shop.cancel(order)
    shop.deliver("inventory.release", order)
    shop.deliver("payments.refund", order)
    assert Inbox.objects.get(step="payments.refund").state == "held"
    return order


def refund_at_the_gateway(order):
    """Refund an order's charge in full on the gateway's own page, of which the gateway knows and
    we do not.
    """
    charge = SimulatedCharge.objects.get(order_id=order)
    SimulatedCharge.objects.create(
        kind="refund",
        key="by hand",
        order_id=order,
        charge_id=charge.charge_id,
        amount=charge.amount,
        currency=charge.currency,
    )


def test_a_refund_made_at_the_gateway_ends_the_order_and_every_book_agrees():
    order = to_be_refunded()
    refund_at_the_gateway(order)
    mark_done("payments.refund", order, WORD)
    shop.walk(order)
    payment = Payment.objects.get()
    assert (payment.status, payment.refunded_amount, payment.refund_reference) == (
        "refunded",
        2500,
        "re_by_hand",
    )
    assert Order.objects.get().status == "cancelled"
    assert audit(expect_ended=True).violations == 0
    reconcile(*next_window())
    assert not Drift.objects.exists()


def test_whose_word_it_was_stays_with_the_row_and_the_timeline_tells_that_it_was_by_hand_alone():
    order = to_be_refunded()
    refund_at_the_gateway(order)
    mark_done("payments.refund", order, WORD)
    shop.walk(order)
    row = Inbox.objects.get(step="payments.refund")
    assert (row.state, row.message, row.by_hand and row.by_hand["by"]) == ("done", None, "olga")
    told = TimelineEvent.objects.get(type="payment.refunded").detail
    assert told["by_hand"] is True
    assert "olga" not in str(told)


def test_without_the_refunds_id_nothing_is_marked():
    order = to_be_refunded()
    with pytest.raises(ManualCompletionRefused, match="gateway's id of the refund"):
        mark_done("payments.refund", order, ManualConfirmation(by="olga", evidence="I think so."))
    assert (Inbox.objects.get(step="payments.refund").state, Payment.objects.get().status) == (
        "held",
        "captured",
    )


def test_a_charge_cannot_be_marked_for_what_is_charged_only_the_gateway_can_tell():
    order = shop.place("MUG")
    with pytest.raises(ManualCompletionRefused, match="only the step itself can tell"):
        mark_done("payments.charge", order, WORD)


def test_a_refund_of_a_charge_whose_outcome_is_not_known_is_left_to_the_gateway_and_nothing_is_changed():
    order = shop.place("MUG", method="pm_sim_timeout_charged")
    shop.deliver("payments.charge", order)
    holds.hold(get_service("payments"), step="payments.refund", by="olga", why="Why not.")
    shop.cancel(order)
    shop.deliver("inventory.release", order)
    shop.deliver("payments.refund", order)
    with pytest.raises(ManualCompletionRefused, match="No captured charge"):
        mark_done("payments.refund", order, WORD)
    assert Inbox.objects.get(step="payments.refund").state == "held"
    assert Inbox.objects.get(step="payments.charge").state == "waiting"


def test_a_step_that_was_done_meanwhile_is_not_done_twice():
    order = to_be_refunded()
    holds.release(get_service("payments"), step="payments.refund")
    shop.deliver("payments.refund", order)
    with pytest.raises(ManualCompletionRefused, match=r"payments\.refund is done meanwhile"):
        mark_done("payments.refund", order, WORD)
    assert Outbox.objects.filter(type="payment.refunded").count() == 1


def test_a_step_that_the_order_has_not_come_to_cannot_be_marked():
    order = shop.place("MUG")
    with pytest.raises(ManualCompletionRefused, match=r"has not come to inventory\.ship"):
        mark_done("inventory.ship", order, WORD)


def test_a_step_that_a_worker_has_in_hand_is_left_to_it():
    order = to_be_refunded()
    Inbox.objects.filter(step="payments.refund").update(
        state="started", due_at="2099-01-01T00:00:00Z"
    )
    with pytest.raises(ManualCompletionRefused, match=r"A worker has payments\.refund in hand"):
        mark_done("payments.refund", order, WORD)


def test_the_same_word_said_twice_at_once_is_one_refund():
    order = to_be_refunded()
    refund_at_the_gateway(order)
    at_once([lambda: mark_done("payments.refund", order, WORD)] * 4)
    assert Outbox.objects.filter(type="payment.refunded").count() == 1


def test_a_message_of_the_step_that_comes_afterwards_changes_nothing():
    order = to_be_refunded()
    refund_at_the_gateway(order)
    mark_done("payments.refund", order, WORD)
    holds.release(get_service("payments"), step="payments.refund")
    shop.deliver("payments.refund", order)
    assert SimulatedCharge.objects.filter(kind="refund").count() == 1


@pytest.mark.parametrize(
    ("step", "before", "state"),
    [
        ("inventory.ship", ("payments.charge", "inventory.reserve", "orders.fulfil"), "shipped"),
        ("inventory.release", ("payments.charge", "inventory.reserve"), "released"),
    ],
)
def test_stock_that_was_moved_by_hand_is_counted_as_the_step_would(step, before, state):
    order = shop.place("MUG")
    for done in before:
        shop.deliver(done, order)
    if step == "inventory.release":
        shop.cancel(order)
    holds.hold(get_service("inventory"), step=step, by="olga", why="The belt is broken.")
    shop.deliver(step, order)
    mark_done(step, order, ManualConfirmation(by="olga", evidence="Carried by hand."))
    shop.walk(order)
    assert Reservation.objects.get().state == state
    assert "Carried by hand." in str(InventoryInbox.objects.get(step=step).by_hand)
    assert audit(expect_ended=True).violations == 0


def test_stock_that_an_order_does_not_hold_cannot_have_been_moved():
    order = shop.place("MUG")
    shop.deliver("payments.charge", order)
    shop.cancel(order)
    holds.hold(
        get_service("inventory"), step="inventory.release", by="olga", why="The belt is broken."
    )
    shop.deliver("inventory.release", order)
    with pytest.raises(ManualCompletionRefused, match="hold no stock"):
        mark_done("inventory.release", order, WORD)
    assert InventoryInbox.objects.get(step="inventory.release").state == "held"
