"""Orders that wait at an automatic hold of payments: their home learns of the hold from payments,
and re-drives none of them.
"""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from orders.models import Hold, Order
from orders.saga import PLACE_ORDER
from payments.models import Hold as PaymentsHold
from payments.models import Inbox as PaymentsInbox
from sagas.celery import tasks
from sagas.definition.hold_scope import HoldScope
from sagas.operations import probing, redrive
from sagas.storage import automatic_holds, hold_probes, inbox
from sagas.storage.registry import get_home, get_service
from tests.broker import empty, take
from tests.integration.audit import harness

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

CHARGE = "payments.charge"

deliver = partial(harness.deliver, CHARGE)


@pytest.fixture
def payments(broker):
    harness.open_shop()
    empty()
    return get_service("payments")


def hold_step(payments, order):
    automatic_holds.place(payments, HoldScope(CHARGE), why="It fails.")
    deliver(order)


def hold_destination(payments, order):
    automatic_holds.place(payments, HoldScope(CHARGE, "stripe"), why="HTTP 503")
    messages = harness.messages_to(CHARGE, [order])
    inbox.hold_calls(payments, CHARGE, PLACE_ORDER.plan, {"stripe": messages})


def tell_home(payments):
    """Run a round of the holds, and the task that it sends to orders."""
    probing.run_once(payments)
    notes = [sent for sent in take("orders") if sent.task == tasks.note_holds.name]
    for sent in notes:
        tasks.note_holds(*sent.args)
    return [sent.args for sent in notes]


def let_hold_last():
    """Let the hold of payments be as old as a hold of which homes are told."""
    since = timezone.now() - timedelta(seconds=automatic_holds.TOLD_AFTER)
    PaymentsHold.objects.update(since=since)


def prove_by_probe(payments):
    """Let one of the orders that wait try the step, which answers; return its id."""
    PaymentsHold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
    (order,) = hold_probes.send_probes(payments).values()
    deliver(order)
    empty()
    return order


def stalled(order):
    """Let this order show no progress since it waits at payments; return how many are re-driven."""
    Order.objects.filter(id=order).update(
        rescue_at=timezone.now() - timedelta(seconds=1), on_hold=CHARGE
    )
    return redrive.run_once(get_home("orders"))


@pytest.mark.parametrize("hold", [hold_step, hold_destination])
def test_payments_tells_orders_of_its_hold_and_no_order_that_waits_there_is_redriven(
    payments, hold
):
    order = harness.place()
    hold(payments, order)
    assert PaymentsInbox.objects.get(saga=order).state == "held"
    assert stalled(order) == 1
    empty()

    assert tell_home(payments) == []  # the hold may end soon
    let_hold_last()
    assert tell_home(payments) == [["orders", "payments", [CHARGE]]]
    assert Hold.objects.get().step == CHARGE
    assert stalled(order) == 0


@pytest.mark.parametrize("hold", [hold_step, hold_destination])
def test_the_orders_that_go_on_after_the_release_of_a_hold_are_not_redriven(payments, hold):
    probe, order = harness.place(), harness.place()
    hold(payments, probe)
    hold(payments, order)
    let_hold_last()
    tell_home(payments)

    assert prove_by_probe(payments) == probe
    tell_home(payments)
    assert not PaymentsHold.objects.exists()
    assert stalled(order) == 0
