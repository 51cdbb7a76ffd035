"""The orders that can be returned: read from another service, by the setting RETURNABLE_ORDERS.

Returns must not import orders. The setting names a function that takes the id of an order. It
returns None for an unknown order, and otherwise a mapping with the fields of `ChargedOrder`.
"""

from uuid import UUID

import msgspec

from api.chosen_function import chosen_function

__all__ = ["SETTING", "ChargedLine", "ChargedOrder", "read_order"]

SETTING = "RETURNABLE_ORDERS"


class ChargedLine(msgspec.Struct, frozen=True):
    """The pieces of one SKU, and the price of each in minor units, as charged."""

    sku: str
    quantity: int
    unit_amount: int


class ChargedOrder(msgspec.Struct, frozen=True):
    """An order: its customer, whether it is fulfilled, and the charged amount in minor units."""

    user_id: int
    fulfilled: bool
    amount: int
    currency: str
    lines: tuple[ChargedLine, ...]

    def line_of(self, sku: str) -> ChargedLine | None:
        """Return the line of a SKU, or None if it was not ordered."""
        return next((line for line in self.lines if line.sku == sku), None)


def read_order(order_id: UUID) -> ChargedOrder | None:
    """Return an order, or None if it is not known."""
    found = chosen_function(SETTING)(order_id)
    return None if found is None else msgspec.convert(found, ChargedOrder)
