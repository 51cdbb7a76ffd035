"""The products and orders of the benchmark, shared by all its processes."""

from collections.abc import Iterator
from typing import Any

__all__ = ["PAYMENT_METHOD", "SKUS", "SOLD_OUT", "body", "skus_to_order"]

# Enough SKUs that concurrent orders do not wait for the same stock row.
SKUS = [f"BENCH-{number:03}" for number in range(200)]
# Never in stock: an order of it is charged, finds no stock, and is refunded and cancelled.
SOLD_OUT = "BENCH-SOLD-OUT"
PAYMENT_METHOD = "pm_card_visa"


def skus_to_order(count: int, *, undone: float) -> Iterator[str]:
    """Yield the SKU of each of `count` orders. The evenly spread share `undone` finds no stock."""
    for number in range(count):
        yield (
            SOLD_OUT
            if int((number + 1) * undone) > int(number * undone)
            else SKUS[number % len(SKUS)]
        )


def body(sku: str) -> dict[str, Any]:
    """Return the body of a request for one piece."""
    return {"lines": [{"sku": sku, "quantity": 1}], "payment_method": PAYMENT_METHOD}
