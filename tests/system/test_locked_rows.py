"""A row of an order or of an inbox that stays locked delays its order, and no other one."""

from functools import partial

import pytest

from orders.models import Order
from tests.processes import until
from tests.sessions import another_session
from tests.system.harness import (
    assert_sound,
    ended,
    order,
    outcome,
    shop,
    system,
)

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.slow,
]

__all__ = ["shop"]

FULFILLED = {("fulfilled", "")}

# Each statement locks what the step needs of one order, in somebody's session.
LOCKS = {
    "an order": ("default", "SELECT 1 FROM orders_order WHERE id = %s FOR UPDATE"),
    "an inbox row that is not committed": (
        "inventory",
        "INSERT INTO inventory_inbox (saga, saga_started_at, step, state, attempts, error)"
        " VALUES (%s, now(), 'inventory.reserve', 'done', 1, '') RETURNING 1",
    ),
}


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_a_locked_row_delays_only_its_order(api_client, lock):
    place = partial(order, api_client)
    alias, statement = lock
    locked = place("locked")
    with another_session(statement, locked, alias=alias) as session, system():
        others = [place(f"mug-{number}") for number in range(20)]
        until(lambda: ended(*others), "the other orders have ended")
        assert {outcome(each) for each in others} == FULFILLED
        assert not ended(locked)
        assert not Order.objects.filter(needs_attention=True).exists()

        session.rollback()
        until(lambda: ended(locked), "the order that waited has ended")

    assert outcome(locked) == ("fulfilled", "")
    assert_sound()
