"""What staff do to the stock."""

from django.db import transaction
from django.db.models import F

from inventory.models import StockAdjustment, StockItem

__all__ = ["MAX_ADJUSTMENT", "StockTooLow", "adjust_stock"]

MAX_ADJUSTMENT = 1_000_000


class StockTooLow(Exception):
    """The adjustment would take out pieces that are reserved, or that were never there."""


def adjust_stock(*, sku: str, quantity: int, reason: str, by: str) -> StockAdjustment:
    """Add pieces to a SKU, or take some out where `quantity` is negative; raise StockTooLow if that
    cannot be.

    A SKU without stock gets its item here.
    """
    with transaction.atomic(using="inventory"):
        # Insert, then add: two first adjustments at once meet on the unique SKU, and both count.
        StockItem.objects.bulk_create([StockItem(sku=sku)], ignore_conflicts=True)
        enough = StockItem.objects.filter(sku=sku, on_hand__gte=-quantity)
        if not enough.update(on_hand=F("on_hand") + quantity):
            raise StockTooLow(
                f"There are fewer than {-quantity} pieces of {sku} that are not reserved."
            )
        return StockAdjustment.objects.create(item_id=sku, quantity=quantity, reason=reason, by=by)
