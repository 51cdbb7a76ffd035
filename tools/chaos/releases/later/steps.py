"""The step that this release adds, and the step that it renames."""

from typing import ClassVar

from inventory.steps import OrderWithReservations, record_manual_shipment, ship
from sagas.definition import handlers
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

# The old name is gone: an order of the earlier release needs a worker of that release.
handlers._definitions.pop("inventory.ship")
