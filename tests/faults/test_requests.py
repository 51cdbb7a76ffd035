"""A client's request, broken off at every point of it: asked again, it is answered, and was done
once.
"""

from uuid import UUID, uuid4

import pytest
from django.core.management import call_command

from inventory.models import Reservation
from orders.models import IdempotencyKey, Inbox, Order
from sagas.ids import uuid7
from sagas.testing.failpoints import Action, Fault, Point
from tests.faults.ledger import LINES, Line

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(300),
]

each_point = pytest.mark.parametrize(
    "point", [Point.UNCOMMITTED, Point.FLUSH_NOT_REQUESTED, Point.NOT_ANSWERED]
)
each_action = pytest.mark.parametrize("action", list(Action))


@each_point
@each_action
def test_an_order_placed_in_spite_of_it_is_one_order(machine, customer, point, action):
    fault, key = Fault(point, "order.created", action), str(uuid4())
    with machine.armoury.armed([fault], since=uuid7()):
        customer.ask(key)
        machine.until(lambda: machine.armoury.hits(fault), "the fault is hit")
    placed = IdempotencyKey.objects.filter(key=key)
    assert placed.exists() == (point is not Point.UNCOMMITTED)
    if action is Action.FREEZE and not placed.exists():
        assert customer.ask(key).status_code == 409
    elif action is Action.FREEZE:
        machine.until(
            lambda: ended(placed.get().order_id), "the order has ended, and nobody was told"
        )
    go_on(machine, fault)
    order = UUID(machine.until(lambda: answered(customer, key), "the client has an answer"))
    machine.until(lambda: ended(order), "the order has ended")
    assert placed.count() == 1
    conclude(machine, fault, order, "fulfilled")


@each_point
@each_action
def test_an_order_called_off_in_spite_of_it_is_undone_once(machine, customer, point, action):
    fault = Fault(point, "order.cancelling", action)
    with machine.without("orders"):
        order = customer.place()
        machine.until(
            Reservation.objects.filter(order_id=order, state="held").exists, "the stock is held"
        )
        with machine.armoury.armed([fault], since=order):
            customer.call_off(order)
            machine.until(lambda: machine.armoury.hits(fault), "the fault is hit")
        barred = Inbox.objects.filter(saga=order, step="orders.fulfil", state="refused")
        assert barred.exists() == (point is not Point.UNCOMMITTED)
        if not barred.exists():
            go_on(machine, fault)
        customer.insist_on_calling_off(order)
    machine.until(lambda: ended(order), "the order has ended")
    go_on(machine, fault)
    conclude(machine, fault, order, "cancelled")


def ended(order):
    return Order.objects.filter(id=order, ended_at__isnull=False).exists()


def answered(customer, key):
    answer = customer.ask(key)
    return answer.json()["id"] if answer is not None and answer.status_code == 201 else None


def go_on(machine, fault):
    """Let a process that was frozen go on, and wait until it has."""
    if fault.action is Action.FREEZE:
        machine.armoury.thaw(fault)
        machine.until(lambda: machine.armoury.over(fault), "the frozen process has gone on")


def conclude(machine, fault, order, status):
    assert Order.objects.get(id=order).status == status
    call_command("audit", "--expect-ended")
    LINES.append(Line(fault, "the request", len(machine.armoury.hits(fault)), status))
