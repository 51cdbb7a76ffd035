"""Who gets what of the stock there is: whole orders or nothing, first come first served. No
database here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

__all__ = ["Allocation", "Demand", "ReservedLine", "allocate"]


class Demand(msgspec.Struct, frozen=True):
    """What one order wants: pieces by SKU."""

    order: UUID
    pieces: Mapping[str, int]


class ReservedLine(msgspec.Struct, frozen=True):
    """What one order gets of one SKU."""

    order: UUID
    sku: str
    quantity: int


class Allocation(msgspec.Struct, frozen=True):
    """What is held, line by line, and for each order that gets nothing the SKU it failed at."""

    held: Sequence[ReservedLine]
    missing: Mapping[UUID, str]

    def taken(self) -> Counter[str]:
        """Return how many pieces of each SKU are taken out of what is on hand."""
        taken: Counter[str] = Counter()
        for line in self.held:
            taken[line.sku] += line.quantity
        return taken


def allocate(on_hand: Mapping[str, int], demands: Iterable[Demand]) -> Allocation:
    """Serve the demands in their order. A SKU that is not in `on_hand` has no stock.

    An order that fails at one SKU leaves all its other pieces to the orders behind it.
    """
    left = Counter(on_hand)
    held: list[ReservedLine] = []
    missing: dict[UUID, str] = {}
    for demand in demands:
        short = next((sku for sku, quantity in demand.pieces.items() if left[sku] < quantity), None)
        if short is not None:
            missing[demand.order] = short
            continue
        left.subtract(demand.pieces)
        held += [
            ReservedLine(demand.order, sku, quantity) for sku, quantity in demand.pieces.items()
        ]
    return Allocation(held, missing)
