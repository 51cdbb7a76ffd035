"""The returns of the demo: the pieces that come back of an order, and how each kind must end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["RETURN_KINDS", "ReturnKind"]

Json = dict[str, Any]

# The pieces of one line that are restocked, and the pieces that are written off.
Received = Callable[[int], tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class ReturnKind:
    """One kind of return: the number of orders, the pieces that arrive, and the expected status.

    Without `received` the customer cancels the return.
    """

    title: str
    returns: int
    received: Received | None
    expected: str

    def lines(self, wanted: list[Json]) -> list[Json]:
        """Return the lines that arrive for the requested ones."""
        received = self.received or _nothing
        arrived = ((line["sku"], *received(line["quantity"])) for line in wanted)
        return [
            {"sku": sku, "restock": restock, "write_off": write_off}
            for sku, restock, write_off in arrived
        ]


def _nothing(_: int) -> tuple[int, int]:
    return 0, 0


RETURN_KINDS = (
    ReturnKind(
        title="all pieces back in stock",
        returns=4,
        received=lambda quantity: (quantity, 0),
        expected="completed",
    ),
    ReturnKind(
        title="one piece broken",
        returns=2,
        received=lambda quantity: (quantity - 1, 1),
        expected="completed",
    ),
    ReturnKind(title="nothing arrived", returns=1, received=_nothing, expected="refused"),
    ReturnKind(title="cancelled by its customer", returns=1, received=None, expected="cancelled"),
)
