"""Allocates stock to orders: first come, first served, whole orders only. Without a database."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

__all__ = ["Allocation", "Demand", "ReservedLine", "allocate"]


class Demand(msgspec.Struct, frozen=True):
    """The pieces that one order needs, by SKU."""

    order: UUID
    pieces: Mapping[str, int]


class ReservedLine(msgspec.Struct, frozen=True):
    """The pieces of one SKU that are reserved for one order."""

    order: UUID
    sku: str
    quantity: int


class Allocation(msgspec.Struct, frozen=True):
    """The reserved lines; and for each order without stock, its first missing SKU."""

    reserved: Sequence[ReservedLine]
    missing: Mapping[UUID, str]

    def taken(self) -> Counter[str]:
        """Return the pieces of each SKU to take from the stock on hand."""
        taken: Counter[str] = Counter()
        for line in self.reserved:
            taken[line.sku] += line.quantity
        return taken


def allocate(on_hand: Mapping[str, int], demands: Iterable[Demand]) -> Allocation:
    """Allocate stock to the demands in their order. A SKU missing in `on_hand` has no stock.

    An order that lacks one SKU gets nothing, so its other pieces go to later orders.
    """
    left = Counter(on_hand)
    reserved: list[ReservedLine] = []
    missing: dict[UUID, str] = {}
    for demand in demands:
        short = next((sku for sku, quantity in demand.pieces.items() if left[sku] < quantity), None)
        if short is not None:
            missing[demand.order] = short
            continue
        left.subtract(demand.pieces)
        reserved += [
            ReservedLine(demand.order, sku, quantity) for sku, quantity in demand.pieces.items()
        ]
    return Allocation(reserved, missing)
