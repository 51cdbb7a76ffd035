"""The write operation of staff: adjusting the stock, as the policy permits, and in the log."""

from django.db import transaction
from django.db.models import F

from inventory.models import StockAdjustment, StockItem
from staff.policy import Actor
from staff.writes import staff_write

__all__ = ["MAX_ADJUSTMENT", "StockTooLow", "adjust_stock", "adjust_stock_as_staff"]

MAX_ADJUSTMENT = 1_000_000


class StockTooLow(Exception):
    """The adjustment would take out more pieces than are available."""


def adjust_stock_as_staff(
    actor: Actor, *, via: str, sku: str, quantity: int, reason: str
) -> StockAdjustment:
    """Adjust the stock as `adjust_stock` does, if the policy permits it, and log it.

    Raises `NotPermitted`, or StockTooLow.
    """
    with staff_write(
        actor, "adjust_stock", via=via, alias="inventory", subject=sku, why=reason
    ) as write:
        made = adjust_stock(sku=sku, quantity=quantity, reason=reason, by=actor.get_username())
        write.outcome = f"{quantity:+} pieces of {sku}."
    return made


def adjust_stock(*, sku: str, quantity: int, reason: str, by: str) -> StockAdjustment:
    """Add pieces to a SKU, or take some out if `quantity` is negative. Raises StockTooLow.

    Creates the stock item of a new SKU.
    """
    with transaction.atomic(using="inventory"):
        # Insert, then add, so that two concurrent first adjustments of a SKU both count.
        StockItem.objects.bulk_create([StockItem(sku=sku)], ignore_conflicts=True)
        enough = StockItem.objects.filter(sku=sku, on_hand__gte=-quantity)
        if not enough.update(on_hand=F("on_hand") + quantity):
            raise StockTooLow(f"There are fewer than {-quantity} pieces of {sku} available.")
        return StockAdjustment.objects.create(item_id=sku, quantity=quantity, reason=reason, by=by)
