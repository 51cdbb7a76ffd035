"""The constraints of the inventory database, without the code."""

import pytest
from django.db import IntegrityError, transaction

from inventory.models import Reservation, StockAdjustment, StockItem
from sagas.ids import uuid7
from tests.integration.inventory.factories import received

pytestmark = pytest.mark.django_db(transaction=True, databases=["inventory"])


@pytest.mark.parametrize("counter", ["on_hand", "reserved", "shipped"])
def test_no_counter_goes_below_zero(counter: str) -> None:
    received(MUG=1)
    with pytest.raises(IntegrityError, match=f"inventory_{counter}_not_negative"):
        StockItem.objects.filter(sku="MUG").update(**{counter: -1})


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"quantity": 0}, "inventory_reservation_of_something"),
        ({"quantity": 1, "state": "gone"}, "inventory_reservation_state"),
        ({"quantity": 1, "item_id": "NEVER-SEEN"}, "foreign key"),
    ],
)
def test_a_reservation_is_of_something_that_exists_in_a_known_state(
    fields: dict[str, object], constraint: str
) -> None:
    received(MUG=1)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic(using="inventory"):
        Reservation.objects.create(**{"order_id": uuid7(), "item_id": "MUG"} | fields)


def test_an_order_reserves_a_sku_once() -> None:
    received(MUG=1)
    line = {"order_id": uuid7(), "item_id": "MUG", "quantity": 1}
    Reservation.objects.create(**line)
    with pytest.raises(IntegrityError, match="inventory_reservation_once"):
        Reservation.objects.create(**line)


def test_an_adjustment_of_nothing_is_none() -> None:
    received(MUG=1)
    with pytest.raises(IntegrityError, match="inventory_adjustment_of_something"):
        StockAdjustment.objects.create(item_id="MUG", quantity=0, reason="none", by="ann")
