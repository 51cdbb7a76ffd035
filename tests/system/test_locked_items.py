"""A stock item that stays locked delays the orders that need it, and no others."""

from functools import partial

import pytest
from django.db import transaction

from orders.models import Order
from payments.models import Payment
from sagas import sql
from tests.processes import until
from tests.system.harness import (
    assert_sound,
    ended,
    order,
    outcome,
    shop,
    system,
)

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop"]

LOCK = "SELECT 1 FROM inventory_stockitem WHERE sku = 'RARE' FOR UPDATE"


def test_a_locked_item_delays_only_the_orders_that_need_it(api_client):
    place = partial(order, api_client)
    with system():
        with transaction.atomic(using="inventory"):
            sql.fetch("inventory", LOCK, {})
            locked = [place(f"rare-{number}", sku="RARE") for number in range(3)]
            both = place("both", and_sku="RARE", quantity=1)
            until(
                lambda: Payment.objects.filter(status="captured").count() == 4,
                "all four orders that need the item are paid",
            )
            others = [place(f"mug-{number}") for number in range(20)]
            until(lambda: ended(*others), "the other orders have ended")
            assert {outcome(each) for each in others} == {("fulfilled", "")}
            assert not Order.objects.filter(needs_attention=True).exists()
            waiting = Order.objects.filter(id__in=[*locked, both])
            assert set(waiting.values_list("status", flat=True)) == {"paid"}

        until(lambda: ended(*locked, both), "the orders that waited have ended")

    assert sorted(outcome(each) for each in [*locked, both]) == [
        ("cancelled", "out_of_stock"),
        *[("fulfilled", "")] * 3,
    ]
    assert_sound()
