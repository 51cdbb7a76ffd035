"""What inventory tells the others."""

from typing import ClassVar

from sagas.definition.events import Event, Refusal

__all__ = ["StockReleased", "StockReserved", "StockShipped", "StockUnavailable"]


class StockReserved(Event, frozen=True, kw_only=True):
    """Every line of the order is held."""

    type: ClassVar[str] = "stock.reserved"

    pieces: int


class StockUnavailable(Refusal, frozen=True, kw_only=True):
    """At least one line cannot be had, so none is held. `sku` is the first such line's."""

    type: ClassVar[str] = "stock.unavailable"

    code: str = "out_of_stock"
    detail: str = "Not enough in stock."
    sku: str | None = None


class StockReleased(Event, frozen=True, kw_only=True):
    """What the order held is on hand again; `pieces` is 0 where it held nothing."""

    type: ClassVar[str] = "stock.released"

    pieces: int


class StockShipped(Event, frozen=True, kw_only=True):
    """What the order held has left the warehouse."""

    type: ClassVar[str] = "stock.shipped"

    pieces: int
