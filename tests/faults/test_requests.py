"""A client's request fails at each of its failpoints. After the retry, the work is done once."""

from uuid import UUID, uuid4

import pytest
from django.core.management import call_command

from inventory.models import Reservation
from orders.models import IdempotencyKey, Inbox, Order
from sagas.failpoints import Action, Fault, Point
from sagas.ids import uuid7

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
def test_a_repeated_order_request_places_one_order(system, customer, store_result, point, action):
    fault, key = Fault(point, "order.created", action), str(uuid4())
    with system.faults.arm([fault], since=uuid7()):
        customer.request_order(key)
        system.until(lambda: system.faults.hits(fault), "the fault is hit")

    placed = IdempotencyKey.objects.filter(key=key)
    assert placed.exists() == (point is not Point.UNCOMMITTED)

    if action is Action.FREEZE and not placed.exists():
        assert customer.request_order(key).status_code == 409
    elif action is Action.FREEZE:
        system.until(
            lambda: ended(placed.get().order_id),
            "the order has ended, although the client has no answer",
        )

    resume(system, fault)
    order = UUID(system.until(lambda: answered(customer, key), "the client has an answer"))
    system.until(lambda: ended(order), "the order has ended")
    assert placed.count() == 1
    conclude(store_result, system, fault, order, "fulfilled")


@each_point
@each_action
def test_a_repeated_cancel_request_undoes_the_order_once(
    system, customer, store_result, point, action
):
    fault = Fault(point, "order.cancelling", action)
    with system.paused("orders"):
        order = customer.place()
        system.until(
            Reservation.objects.filter(order_id=order, state="held").exists, "the stock is held"
        )

        with system.faults.arm([fault], since=order):
            customer.request_cancel(order)
            system.until(lambda: system.faults.hits(fault), "the fault is hit")

        barred = Inbox.objects.filter(saga=order, step="orders.fulfil", state="refused")
        assert barred.exists() == (point is not Point.UNCOMMITTED)
        if not barred.exists():
            resume(system, fault)

        customer.cancel_until_answered(order)

    system.until(lambda: ended(order), "the order has ended")
    resume(system, fault)
    conclude(store_result, system, fault, order, "cancelled")


def ended(order):
    return Order.objects.filter(id=order, ended_at__isnull=False).exists()


def answered(customer, key):
    answer = customer.request_order(key)
    return answer.json()["id"] if answer is not None and answer.status_code == 201 else None


def resume(system, fault):
    """Resume a frozen process, and wait until it has continued."""
    if fault.action is Action.FREEZE:
        system.faults.thaw(fault)
        system.until(lambda: system.faults.is_over(fault), "the frozen process has continued")


def conclude(store_result, system, fault, order, status):
    assert Order.objects.get(id=order).status == status
    call_command("audit", "--expect-ended")
    store_result(fault, "request", len(system.faults.hits(fault)), status)
