"""Orders that are authorized first: no charge without stock, and a cancel may come too late."""

from functools import partial

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from inventory.models import StockItem
from orders.models import Inbox, Order, Outbox, TimelineEvent
from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER
from orders.services import OrderFulfilledError, cancel_order
from payments.authorization_expiry import cancel_expiring_once
from payments.models import Inbox as PaymentsInbox
from payments.models import Payment, SimulatedCharge, SimulatedIntent
from payments.steps import Capture
from sagas.operations import holds
from sagas.storage.registry import get_service
from tests.integration.audit import harness
from tests.integration.orders.harness import client_of, path
from tests.integration.races import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

PLAN = AUTHORIZE_FIRST.plan
UP_TO_CAPTURE = ("payments.authorize", "inventory.reserve")

deliver = partial(harness.deliver, plan=PLAN)
walk = partial(harness.run_to_end, plan=PLAN)


@pytest.fixture(autouse=True)
def authorize_first(settings):
    settings.ORDER_SAGA = "authorize_first"
    harness.open_shop()


def moved(order):
    return list(SimulatedCharge.objects.filter(order_id=order).values_list("kind", flat=True))


def status(order):
    row = Order.objects.get(id=order)
    return row.status, row.failure_code


def state(order, step):
    return (
        PaymentsInbox.objects.filter(saga=order, step=step).values_list("state", flat=True).first()
    )


def told(order):
    return list(
        TimelineEvent.objects.filter(saga=order).order_by("seq").values_list("type", flat=True)
    )


def assert_let_go(order):
    """Assert that no money and no stock is taken or reserved, and that the audit passes."""
    assert moved(order) == []
    assert SimulatedIntent.objects.get(order_id=order).state in ("void", "declined")
    assert Payment.objects.get(order_id=order).status in ("void", "declined")
    assert StockItem.objects.get(sku="MUG").reserved == 0
    call_command("audit", "--expect-ended")


def test_the_money_is_taken_once_the_stock_is_held():
    order = harness.place()
    for step in UP_TO_CAPTURE:
        deliver(step, order)
        assert moved(order) == []
    assert Payment.objects.get(order_id=order).status == "authorized"
    walk(order)
    assert status(order) == ("fulfilled", "")
    assert moved(order) == ["capture"]
    assert Payment.objects.get(order_id=order).status == "captured"
    assert told(order) == [
        "order.created",
        "payment.authorized",
        "stock.reserved",
        "payment.processed",
        "order.fulfilled",
        "stock.shipped",
    ]
    call_command("audit", "--expect-ended")


def test_an_order_for_which_there_is_no_stock_moves_no_money():
    order = harness.place("VASE")
    walk(order)
    assert status(order) == ("cancelled", "out_of_stock")
    assert_let_go(order)
    assert "payment.refunded" not in told(order)


def test_a_declined_authorization_cancels_the_order():
    order = harness.place(method="pm_card_chargeDeclined")
    walk(order)
    assert status(order) == ("cancelled", "payment_declined")
    assert_let_go(order)


def test_an_authorization_that_has_run_out_is_refused_at_the_capture_and_undone():
    order = harness.place(method="pm_sim_authorization_lapses")
    walk(order)
    assert status(order) == ("cancelled", "authorization_expired")
    assert_let_go(order)


@pytest.mark.parametrize(
    "method", ["pm_sim_timeout_charged", "pm_sim_timeout_lost", "pm_sim_500_charged"]
)
def test_answers_that_are_lost_are_asked_for_and_the_order_is_charged_once(method):
    order = harness.place(method=method)
    walk(order)
    assert status(order) == ("fulfilled", "")
    assert moved(order) == ["capture"]
    call_command("audit", "--expect-ended")


def test_each_order_keeps_the_plan_it_was_placed_with(settings):
    authorized = harness.place()
    settings.ORDER_SAGA = "charge_first"
    charged = harness.place()
    plans = dict(Order.objects.values_list("id", "plan__saga"))
    assert plans == {authorized: "authorize_first", charged: "place_order"}
    walk(authorized)
    harness.run_to_end(charged, plan=PLACE_ORDER.plan)
    assert status(authorized) == status(charged) == ("fulfilled", "")
    assert "payment.authorized" not in told(charged)
    call_command("audit", "--expect-ended")


@pytest.mark.parametrize("done", [(), UP_TO_CAPTURE[:1], UP_TO_CAPTURE])
def test_a_cancel_before_the_capture_has_begun_comes_in_time(done):
    order, ada = harness.place(), client_of("ada")
    for step in done:
        deliver(step, order)
    answer = ada.post(path(order, "cancel/"))
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    deliver("payments.withhold", order)
    walk(order)
    assert status(order) == ("cancelled", "cancelled_by_customer")
    assert state(order, "payments.capture") == "refused"
    assert {"payment.withheld", "payment.voided"} <= set(told(order))
    assert ada.post(path(order, "cancel/")).status_code == 200
    assert_let_go(order)


def test_a_cancel_after_the_capture_comes_too_late_and_the_order_shows_no_failure():
    order, ada = harness.place(), client_of("ada")
    for step in (*UP_TO_CAPTURE, "payments.capture"):
        deliver(step, order)
    assert ada.post(path(order, "cancel/")).status_code == 202
    walk(order)
    assert ada.get(path(order)).json()["failure"] is None
    assert status(order) == ("fulfilled", "")
    assert "payment.kept" in told(order)
    assert "stock.released" not in told(order)
    assert ada.post(path(order, "cancel/")).status_code == 409
    assert moved(order) == ["capture"]
    call_command("audit", "--expect-ended")


def test_a_request_to_cancel_that_is_lost_until_the_order_has_ended_is_no_lost_message():
    order = harness.place()
    for step in (*UP_TO_CAPTURE, "payments.capture"):
        deliver(step, order)
    cancel_order(Order.objects.get(id=order))
    for step in ("orders.fulfil", "inventory.ship"):
        deliver(step, order)
    harness.record_timeline()
    assert state(order, "payments.withhold") is None
    call_command("audit", "--expect-ended")


def test_twenty_cancels_at_once_ask_once():
    order, clients = harness.place(), [client_of("ada") for _ in range(20)]
    answers = at_once([partial(client.post, path(order, "cancel/")) for client in clients])
    assert {answer.status_code for answer in answers} == {202}
    assert Outbox.objects.filter(saga=order, type="order.cancelling").count() == 1
    assert not Inbox.objects.exists()


def test_a_cancel_while_the_gateway_is_asked_to_capture_waits_for_its_answer(monkeypatch):
    order = harness.place()
    for step in UP_TO_CAPTURE:
        deliver(step, order)

    def cancelled_meanwhile(self, requests):
        cancel_order(Order.objects.get(id=order))
        deliver("payments.withhold", order)
        assert (state(order, "payments.capture"), state(order, "payments.withhold")) == (
            "started",
            "waiting",
        )
        return real(self, requests)

    real = Capture.call
    monkeypatch.setattr(Capture, "call", cancelled_meanwhile)
    deliver("payments.capture", order)
    monkeypatch.undo()
    walk(order)
    assert status(order) == ("fulfilled", "")
    assert state(order, "payments.withhold") == "done"
    assert "payment.withheld" not in told(order)
    call_command("audit", "--expect-ended")


def hold(**what):
    """Put a saga or step on hold in payments; return the function that releases it."""
    payments = get_service("payments")
    holds.hold(payments, **what, by="olga", why="The bank is down.")
    return partial(holds.release, payments, **what)


def cancelled_with_its_capture_on_hold(order, **what):
    """Run an order to its capture, which is on hold, and cancel it; return the release function."""
    for step in UP_TO_CAPTURE:
        deliver(step, order)
    release = hold(**what)
    deliver("payments.capture", order)
    answer = client_of("ada").post(path(order, "cancel/"))
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    walk(order)
    assert state(order, "payments.capture") == "held"
    assert status(order) == ("cancelling", "cancelled_by_customer")
    return release


@pytest.mark.parametrize(("held", "withhold"), [("step", "waiting"), ("saga", "held")])
def test_a_cancel_waits_for_a_capture_on_hold_which_may_have_been_asked_for_before(held, withhold):
    order = harness.place()
    release = cancelled_with_its_capture_on_hold(
        order, **{held: order if held == "saga" else "payments.capture"}
    )
    assert state(order, "payments.withhold") == withhold
    assert moved(order) == []
    release()
    walk(order)
    assert status(order) == ("fulfilled", "")
    assert moved(order) == ["capture"]
    call_command("audit", "--expect-ended")


def test_a_cancel_that_waited_for_a_capture_on_hold_which_is_refused_goes_on_to_undo():
    order = harness.place(method="pm_sim_authorization_lapses")
    release = cancelled_with_its_capture_on_hold(order, step="payments.capture")
    release()
    walk(order)
    assert status(order) == ("cancelled", "cancelled_by_customer")
    assert_let_go(order)


@pytest.mark.parametrize("step", ["payments.authorize", "payments.capture"])
def test_a_cancel_of_an_order_that_has_not_come_to_its_capture_waits_for_no_step_on_hold(step):
    order = harness.place()
    hold(step=step)
    deliver("payments.authorize", order)
    assert client_of("ada").post(path(order, "cancel/")).status_code == 202
    deliver("payments.withhold", order)
    walk(order)
    assert status(order) == ("cancelled", "cancelled_by_customer")
    assert moved(order) == []
    call_command("audit", "--expect-ended")


def test_a_cancel_that_waited_for_a_capture_which_is_refused_goes_on_to_undo():
    order = harness.place(method="pm_sim_authorization_lapses")
    for step in UP_TO_CAPTURE:
        deliver(step, order)
    cancel_order(Order.objects.get(id=order))
    deliver("payments.capture", order)
    walk(order)
    assert status(order) == ("cancelled", "cancelled_by_customer")
    assert_let_go(order)


def test_a_cancel_and_the_capture_at_once_have_one_winner():
    orders = [harness.place() for _ in range(8)]
    for step in UP_TO_CAPTURE:
        deliver(step, *orders)
    for order in orders:
        cancel_order(Order.objects.get(id=order))

    at_once(
        [
            *(partial(deliver, "payments.withhold", order) for order in orders),
            *(partial(deliver, "payments.capture", *orders[at : at + 4]) for at in (0, 4)),
        ]
    )

    walk(*orders)
    for order in orders:
        kept = "payment.kept" in told(order)
        assert status(order) == (
            ("fulfilled", "") if kept else ("cancelled", "cancelled_by_customer")
        )
        assert moved(order) == (["capture"] if kept else [])
    call_command("audit", "--expect-ended")


def test_a_capture_that_keeps_failing_is_not_given_up_but_a_person_is_told():
    order = harness.place()
    for step in UP_TO_CAPTURE:
        deliver(step, order)
    harness.give_up("payments.capture", order, plan=PLAN)
    assert state(order, "payments.capture") == "waiting"
    harness.record_timeline()
    assert Order.objects.get(id=order).needs_attention
    walk(order)
    assert status(order) == ("fulfilled", "")
    call_command("audit", "--expect-ended")


def test_what_is_about_to_run_out_is_called_off():
    order, other = harness.place(), harness.place()
    for step in UP_TO_CAPTURE:
        deliver(step, order, other)
    Payment.objects.filter(order_id=order).update(authorization_expires_at=Now())
    assert cancel_expiring_once() == 1
    assert cancel_expiring_once() == 0
    walk(order, other)
    assert status(order) == ("cancelled", "authorization_expired")
    assert status(other) == ("fulfilled", "")
    assert moved(order) == []
    call_command("audit", "--expect-ended")


def test_an_authorization_whose_capture_has_begun_is_not_called_off():
    order = harness.place(method="pm_sim_timeout_lost")
    deliver("payments.authorize", order)
    for step in (*UP_TO_CAPTURE, "payments.capture"):
        deliver(step, order)
    Payment.objects.filter(order_id=order).update(authorization_expires_at=Now())
    assert cancel_expiring_once() == 0
    walk(order)
    assert status(order) == ("fulfilled", "")


def test_an_order_cancelled_too_late_cannot_be_cancelled_by_its_own_service():
    order = harness.place()
    walk(order)
    with pytest.raises(OrderFulfilledError):
        cancel_order(Order.objects.get(id=order))
    assert not Outbox.objects.filter(saga=order, type="order.cancelling").exists()
