"""A step that this release adds, and a step that it renames.

`inventory.ship` stays registered, because orders of the earlier release still run it.
"""

from typing import ClassVar

from inventory.steps import OrderWithReservations, record_manual_shipment, ship
from sagas.definition.events import Event, Refusal
from sagas.definition.handlers import Delivery, ManualCompletion, NoContext, action, undo


class StockPacked(Event, frozen=True, kw_only=True):
    """The pieces are packed."""

    type: ClassVar[str] = "stock.packed"


class StockUnpacked(Event, frozen=True, kw_only=True):
    """The pieces are unpacked."""

    type: ClassVar[str] = "stock.unpacked"


class StockNotPacked(Refusal, frozen=True, kw_only=True):
    """The pieces could not be packed."""

    type: ClassVar[str] = "stock.not_packed"


@action("inventory.pack", accepts=NoContext, refusal=StockNotPacked)
def pack(delivery: Delivery[NoContext]) -> StockPacked:
    """Pack the pieces."""
    return StockPacked()


@undo("inventory.unpack", accepts=NoContext)
def unpack(delivery: Delivery[NoContext]) -> StockUnpacked:
    """Unpack the pieces."""
    return StockUnpacked()


dispatch = action(
    "inventory.dispatch",
    accepts=OrderWithReservations,
    manual=ManualCompletion(record=record_manual_shipment),
)(ship)
