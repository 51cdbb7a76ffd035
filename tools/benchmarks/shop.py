"""What is for sale, and what customers of the benchmark want: data that every process of it
shares.
"""

from collections.abc import Iterator
from typing import Any

__all__ = ["PAYMENT_METHOD", "SKUS", "SOLD_OUT", "body", "wishes"]

# So many that no two orders of a moment wait for the same row, as they would in bare SQL.
SKUS = [f"BENCH-{number:03}" for number in range(200)]
# Never delivered: its order is charged, finds no stock, and is refunded and cancelled.
SOLD_OUT = "BENCH-SOLD-OUT"
PAYMENT_METHOD = "pm_card_visa"


def wishes(count: int, *, undone: float) -> Iterator[str]:
    """Yield the SKU that each of `count` orders wants; `undone` of them, evenly spread, find no
    stock.
    """
    for number in range(count):
        yield (
            SOLD_OUT
            if int((number + 1) * undone) > int(number * undone)
            else SKUS[number % len(SKUS)]
        )


def body(sku: str) -> dict[str, Any]:
    """Return the request for one piece."""
    return {"lines": [{"sku": sku, "quantity": 1}], "payment_method": PAYMENT_METHOD}
