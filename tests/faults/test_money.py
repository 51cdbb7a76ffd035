"""The gateway moves money in another way than asked, while a process is killed, raises or freezes.

Some orders are undone at once, each with another behaviour of the gateway. The fault hits the batch
of one of them or of several. Afterwards nothing is left of any order at the gateway.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from uuid import UUID

import pytest
from django.core.management import call_command

from inventory.models import Reservation
from orders.models import Order
from payments.models import SimulatedCharge
from sagas.failpoints import Action, Fault, Point
from sagas.ids import uuid7
from tests.faults.customer import Customer
from tests.plugin import running
from tools.local.provider_ledger import money_left, read_ledger

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(300),
]

# The points of a step that calls the gateway, and of its answer.
POINTS = (
    Point.NOT_BEGUN,
    Point.NOT_CALLED,
    Point.NOT_RECORDED,
    Point.COMMITTED,
    Point.PASSED_ON,
)

# The payment methods of the orders that their customer cancels.
CANCELLED = (
    "pm_sim_partly_refunded",
    "pm_sim_refund_error_once",
    "pm_sim_refund_timeout_once",
    "pm_sim_refund_bounces_once",
    "pm_sim_disputed_won",
    "pm_sim_disputed_lost",
)
# The capture of this method takes a part of the authorized amount, as if a person had captured it.
MISMATCHED = "pm_sim_partial_capture"

REFUND, CAPTURE = "payments.refund", "payments.capture"


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("point", POINTS)
def test_the_customers_of_undone_orders_have_the_exact_amount_back(
    system, customer, store_result, point, action
):
    faults, since = [Fault(point, step, action) for step in (REFUND, CAPTURE)], uuid7()
    with ExitStack() as armed:
        with system.paused("orders"):
            placed = [customer.place(method=method) for method in CANCELLED]
            held = Reservation.objects.filter(order_id__in=placed, state="held")
            system.until(lambda: held.count() == len(placed), "the stock of all orders is held")
            armed.enter_context(system.faults.arm(faults, since=since))
            for order in placed:
                customer.cancel_until_answered(order)
            mismatched = Customer(system, url=system.authorizing_url).place(method=MISMATCHED)

        orders = [*placed, mismatched]
        system.until(
            lambda: all_finished(system, faults, orders),
            "all faults are over and all orders have ended",
        )

    call_command("audit", "--expect-ended")
    ends = {order.id: order.failure_code for order in Order.objects.filter(id__in=orders)}
    assert ends.pop(mismatched) == "payment_amount_differs"
    assert set(ends.values()) == {"cancelled_by_customer"}
    assert {order: left_of(order) for order in orders} == dict.fromkeys(orders, 0)
    for fault in faults:
        hits = system.faults.hits(fault)
        assert all(set(hit.sagas) & set(orders) for hit in hits)
        store_result(fault, "money moved otherwise", len(hits), "cancelled")


def all_finished(system, faults: Sequence[Fault], orders: Sequence[UUID]) -> bool:
    """Resume frozen processes once all orders have ended; return whether all faults are over."""
    if Order.objects.filter(id__in=orders, ended_at=None).exists():
        return False

    for fault in faults:
        if fault.action is Action.FREEZE:
            system.faults.thaw(fault)
    return all(system.faults.is_over(fault) for fault in faults)


def left_of(order: UUID) -> int:
    """Return the money of an order that is left at the gateway, in minor units."""
    if sandbox := running().env.get("STRIPE_API_BASE"):
        return money_left(read_ledger(sandbox))[str(order)]

    moved = SimulatedCharge.objects.filter(order_id=order).values_list("kind", "amount")
    return sum(
        amount if kind in ("capture", "dispute_return") else -amount for kind, amount in moved
    )
