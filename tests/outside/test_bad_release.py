"""A release, a database or a provider that fails for every order costs no order. The step goes on
hold by itself, and every order ends fulfilled after the fault.
"""

from contextlib import contextmanager
from typing import NamedTuple

import pytest
from django.db.models import F

from inventory.models import Inbox as InventoryInbox
from orders.models import Order, TimelineEvent
from sagas.storage.registry import service_of_step
from tests.outside.harness import (
    SHORT_TIMES,
    in_database,
    running_system,
    superuser_in,
)
from tests.processes import until
from tests.system.harness import order

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

RESERVE, CHARGE = "inventory.reserve", "payments.charge"


class Fault(NamedTuple):
    """A step, the statement that breaks it, and the statement that mends it."""

    step: str
    breaks: str
    mends: str


def refused(condition):
    """Return a fault: the database refuses the reservations that do not meet a condition."""
    return Fault(
        RESERVE,
        f"ALTER TABLE inventory_reservation ADD CONSTRAINT broken CHECK ({condition}) NOT VALID",
        "ALTER TABLE inventory_reservation DROP CONSTRAINT broken",
    )


# Each of them breaks its step for every order.
FAULTS = {
    "a missing column": Fault(
        RESERVE,
        "ALTER TABLE inventory_stockitem RENAME COLUMN on_hand TO on_hand_old",
        "ALTER TABLE inventory_stockitem RENAME COLUMN on_hand_old TO on_hand",
    ),
    "a revoked right": Fault(
        RESERVE,
        "REVOKE INSERT ON inventory_reservation FROM CURRENT_USER",
        "GRANT INSERT ON inventory_reservation TO CURRENT_USER",
    ),
    "a sequence behind its table": Fault(
        RESERVE,
        "ALTER TABLE inventory_reservation ALTER COLUMN id RESTART WITH 1",
        "ALTER TABLE inventory_reservation ALTER COLUMN id RESTART WITH 1000000",
    ),
    "a handler that raises": refused("quantity < 0"),
    "a provider without answers": Fault(
        CHARGE,
        "ALTER TABLE payments_simulatedcharge RENAME TO payments_simulatedcharge_old",
        "ALTER TABLE payments_simulatedcharge_old RENAME TO payments_simulatedcharge",
    ),
}


@pytest.fixture(scope="module")
def serving(django_db_setup):
    """Run the workers and beat."""
    with running_system(SHORT_TIMES) as system:
        yield system


@contextmanager
def broken(fault):
    """Break a step while the context lasts; yield the step."""
    alias = service_of_step(fault.step).alias
    run(alias, fault.breaks)
    try:
        yield fault.step
    finally:
        run(alias, fault.mends)


def run(alias, statement):
    owner = in_database(alias, "SELECT current_user")[0][0]
    with superuser_in(alias) as session:
        session.execute("SET lock_timeout = '10s'")
        session.execute(statement.replace("CURRENT_USER", f'"{owner}"'))
        session.commit()


def probes(step):
    """Return how many orders have tried a step that is on hold by itself, or its only destination.

    None if it is not on hold.
    """
    service = service_of_step(step)
    statement = (
        f"SELECT probes FROM {service.hold} WHERE '{step}' IN (step, calling_step) AND automatic"
    )
    rows = in_database(service.alias, statement)
    return rows[0][0] if rows else None


def place(client, count, *, quantity=1, prefix):
    return [order(client, f"{prefix}-{number}", quantity=quantity) for number in range(count)]


def assert_all_fulfilled(orders):
    found = Order.objects.filter(id__in=orders)
    assert set(found.values_list("status", flat=True)) == {"fulfilled"}
    types = set(TimelineEvent.objects.filter(saga__in=orders).values_list("type", flat=True))
    assert not types & {"saga.needs_attention", "payment.refunded", "stock.released"}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_no_order_is_cancelled_and_all_end_after_the_fault(api_client, serving, fault):
    before = place(api_client, 12, prefix="before")
    until(lambda: not Order.objects.filter(ended_at=None).exists(), "the first orders have ended")
    with broken(fault) as step:
        during = place(api_client, 6, prefix="during")
        until(lambda: probes(step) is not None or fulfilled(during), "the step is on hold")
        during += place(api_client, 6, prefix="on-hold")
        until(lambda: (probes(step) or 0) >= 2 or fulfilled(during), "orders try the step")
    serving.wait_until_idle()
    assert probes(step) is None
    assert_all_fulfilled([*before, *during])


def fulfilled(orders):
    """Tell whether the fault has ended by itself: each failure moves a sequence."""
    return not Order.objects.filter(id__in=orders).exclude(status="fulfilled").exists()


def test_half_of_the_orders_fail_and_wait_while_the_others_are_fulfilled(api_client, serving):
    bad, good = [], []
    with broken(refused("quantity <> 2")):
        for number in range(8):
            bad += place(api_client, 1, quantity=2, prefix=f"bad-{number}")
            good += place(api_client, 1, prefix=f"good-{number}")
        until(lambda: fulfilled(good), "the good half is fulfilled")
        until(
            lambda: (
                InventoryInbox.objects.filter(
                    saga__in=bad, attempts__gt=0, attempts=F("excused")
                ).count()
                == len(bad)
            ),
            "the failing half waits",
        )
    serving.wait_until_idle()
    assert_all_fulfilled([*bad, *good])


def test_a_lone_bad_order_is_given_up_while_others_are_fulfilled(api_client, serving):
    with broken(refused("quantity <> 7")):
        (bad,) = place(api_client, 1, quantity=7, prefix="bad")
        good = place(api_client, 4, prefix="good")
        serving.wait_until_idle()
    assert Order.objects.get(id=bad).status == "cancelled"
    assert_all_fulfilled(good)
