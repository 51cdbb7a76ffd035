"""A step marked as done by hand commits the same rows as its success: the order continues, and the
audit finds no violation.
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
from tests.integration.audit import harness
from tests.integration.races import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

CONFIRMATION = ManualConfirmation(
    by="olga", evidence="Refunded in the gateway's dashboard at noon.", reference="re_by_hand"
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Disable the background flush."""
    monkeypatch.setattr(manual, "request_flush", lambda service: None)
    harness.open_shop()


def to_be_refunded():
    """Return an order that is being cancelled, with its refund on hold."""
    order = harness.place("MUG")
    harness.deliver("payments.charge", order)
    holds.hold(
        get_service("payments"),
        step="payments.refund",
        by="olga",
        why="The gateway refuses refunds.",
    )
    harness.cancel(order)
    harness.deliver("inventory.release", order)
    harness.deliver("payments.refund", order)
    assert Inbox.objects.get(step="payments.refund").state == "held"
    return order


def refund_at_the_gateway(order):
    """Refund an order's charge on the gateway's own page, so that only the gateway knows of it."""
    charge = SimulatedCharge.objects.get(order_id=order)
    SimulatedCharge.objects.create(
        kind="refund",
        key="by hand",
        order_id=order,
        charge_id=charge.charge_id,
        amount=charge.amount,
        currency=charge.currency,
    )


def test_a_refund_made_at_the_gateway_ends_the_order_and_all_ledgers_agree():
    order = to_be_refunded()
    refund_at_the_gateway(order)
    mark_done("payments.refund", order, CONFIRMATION)
    harness.run_to_end(order)
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


def test_the_inbox_row_names_the_operator_and_the_timeline_only_says_by_hand():
    order = to_be_refunded()
    refund_at_the_gateway(order)
    mark_done("payments.refund", order, CONFIRMATION)
    harness.run_to_end(order)
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


def test_a_charge_cannot_be_marked_because_only_the_gateway_knows_its_result():
    order = harness.place("MUG")
    with pytest.raises(ManualCompletionRefused, match="only a run of the step can tell"):
        mark_done("payments.charge", order, CONFIRMATION)


def test_a_refund_of_a_charge_with_an_unknown_outcome_is_refused_and_changes_nothing():
    order = harness.place("MUG", method="pm_sim_timeout_charged")
    harness.deliver("payments.charge", order)
    holds.hold(get_service("payments"), step="payments.refund", by="olga", why="Why not.")
    harness.cancel(order)
    harness.deliver("inventory.release", order)
    harness.deliver("payments.refund", order)
    with pytest.raises(ManualCompletionRefused, match="No captured charge"):
        mark_done("payments.refund", order, CONFIRMATION)
    assert Inbox.objects.get(step="payments.refund").state == "held"
    assert Inbox.objects.get(step="payments.charge").state == "waiting"


def test_a_step_that_is_already_done_is_not_done_twice():
    order = to_be_refunded()
    holds.release(get_service("payments"), step="payments.refund")
    harness.deliver("payments.refund", order)
    with pytest.raises(ManualCompletionRefused, match=r"payments\.refund is already done"):
        mark_done("payments.refund", order, CONFIRMATION)
    assert Outbox.objects.filter(type="payment.refunded").count() == 1


def test_a_step_that_the_order_has_not_reached_cannot_be_marked():
    order = harness.place("MUG")
    with pytest.raises(ManualCompletionRefused, match=r"has not reached inventory\.ship"):
        mark_done("inventory.ship", order, CONFIRMATION)


def test_a_step_that_a_worker_is_running_cannot_be_marked():
    order = to_be_refunded()
    Inbox.objects.filter(step="payments.refund").update(
        state="started", due_at="2099-01-01T00:00:00Z"
    )
    with pytest.raises(ManualCompletionRefused, match=r"A worker is running payments\.refund"):
        mark_done("payments.refund", order, CONFIRMATION)


def test_the_same_confirmation_given_concurrently_is_one_refund():
    order = to_be_refunded()
    refund_at_the_gateway(order)
    at_once([lambda: mark_done("payments.refund", order, CONFIRMATION)] * 4)
    assert Outbox.objects.filter(type="payment.refunded").count() == 1


def test_a_later_message_of_the_step_changes_nothing():
    order = to_be_refunded()
    refund_at_the_gateway(order)
    mark_done("payments.refund", order, CONFIRMATION)
    holds.release(get_service("payments"), step="payments.refund")
    harness.deliver("payments.refund", order)
    assert SimulatedCharge.objects.filter(kind="refund").count() == 1


@pytest.mark.parametrize(
    ("step", "before", "state"),
    [
        ("inventory.ship", ("payments.charge", "inventory.reserve", "orders.fulfil"), "shipped"),
        ("inventory.release", ("payments.charge", "inventory.reserve"), "released"),
    ],
)
def test_stock_moved_by_hand_is_counted_like_the_step_does(step, before, state):
    order = harness.place("MUG")
    for done in before:
        harness.deliver(done, order)
    if step == "inventory.release":
        harness.cancel(order)
    holds.hold(get_service("inventory"), step=step, by="olga", why="The belt is broken.")
    harness.deliver(step, order)
    mark_done(step, order, ManualConfirmation(by="olga", evidence="Carried by hand."))
    harness.run_to_end(order)
    assert Reservation.objects.get().state == state
    assert "Carried by hand." in str(InventoryInbox.objects.get(step=step).by_hand)
    assert audit(expect_ended=True).violations == 0


def test_stock_that_an_order_does_not_hold_cannot_be_marked_as_moved():
    order = harness.place("MUG")
    harness.deliver("payments.charge", order)
    harness.cancel(order)
    holds.hold(
        get_service("inventory"), step="inventory.release", by="olga", why="The belt is broken."
    )
    harness.deliver("inventory.release", order)
    with pytest.raises(ManualCompletionRefused, match="no reserved stock"):
        mark_done("inventory.release", order, CONFIRMATION)
    assert InventoryInbox.objects.get(step="inventory.release").state == "held"
