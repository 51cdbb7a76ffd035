"""The events of inventory."""

from typing import ClassVar

from sagas import Event, Refusal

__all__ = [
    "StockBarred",
    "StockReleased",
    "StockReserved",
    "StockRestocked",
    "StockShipped",
    "StockUnavailable",
]


class StockReserved(Event, frozen=True, kw_only=True):
    """Every line of the order is reserved."""

    type: ClassVar[str] = "stock.reserved"

    pieces: int


class StockUnavailable(Refusal, frozen=True, kw_only=True):
    """At least one line is out of stock, so none is reserved. `sku` is the first missing one."""

    type: ClassVar[str] = "stock.unavailable"

    code: str = "out_of_stock"
    detail: str = "Not enough in stock."
    sku: str | None = None


class StockReleased(Event, frozen=True, kw_only=True):
    """The order's pieces are on hand again."""

    type: ClassVar[str] = "stock.released"

    pieces: int


class StockBarred(Event, frozen=True, kw_only=True):
    """There was nothing to release: no piece was reserved for the order, and none will be."""

    type: ClassVar[str] = "stock.barred"


class StockShipped(Event, frozen=True, kw_only=True):
    """The order's pieces have left the warehouse."""

    type: ClassVar[str] = "stock.shipped"

    pieces: int


class StockRestocked(Event, frozen=True, kw_only=True):
    """The pieces of a return came back: some are on hand again, the others are written off."""

    type: ClassVar[str] = "stock.restocked"

    restocked: int
    written_off: int
