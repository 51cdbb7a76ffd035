"""Every adjustment counts, and none takes out reserved pieces."""

from functools import partial

import pytest
from django.db.models import Sum

from inventory.models import StockAdjustment, StockItem
from inventory.services import StockTooLow, adjust_stock
from tests.integration.inventory.factories import counters, order, received, run
from tests.integration.races import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases=["inventory"])


def test_the_first_adjustment_creates_the_item() -> None:
    adjustment = adjust_stock(sku="MUG", quantity=10, reason="first delivery", by="ann")
    assert counters("MUG") == (10, 0, 0)
    assert (adjustment.quantity, adjustment.reason, adjustment.by) == (10, "first delivery", "ann")
    assert adjustment.at is not None


def test_two_first_adjustments_at_once_both_count() -> None:
    at_once(
        [
            partial(adjust_stock, sku="NEW", quantity=3, reason="delivery", by="ann")
            for _ in range(10)
        ]
    )
    assert counters("NEW") == (30, 0, 0)
    assert (
        StockAdjustment.objects.filter(item__sku="NEW").aggregate(total=Sum("quantity"))["total"]
        == 30
    )


def test_what_is_reserved_cannot_be_taken_out() -> None:
    received(MUG=5)
    run("inventory.reserve", order("inventory.reserve", {"MUG": 4}))
    with pytest.raises(StockTooLow, match="fewer than 2 pieces of MUG"):
        adjust_stock(sku="MUG", quantity=-2, reason="broken", by="ann")
    assert counters("MUG") == (1, 4, 0)
    adjust_stock(sku="MUG", quantity=-1, reason="broken", by="ann")
    assert counters("MUG") == (0, 4, 0)


def test_a_refused_first_adjustment_leaves_no_item_behind() -> None:
    with pytest.raises(StockTooLow):
        adjust_stock(sku="NEW", quantity=-1, reason="broken", by="ann")
    assert not StockItem.objects.filter(sku="NEW").exists()
    assert not StockAdjustment.objects.exists()
