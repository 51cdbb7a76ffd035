"""What orders tells the others. Amounts are in minor units of `currency` (lower-case ISO 4217)."""

from typing import ClassVar

from msgspec import Struct

from sagas.definition.events import Event, Refusal

__all__ = [
    "LineOrdered",
    "OrderCancelled",
    "OrderCancelling",
    "OrderCreated",
    "OrderFulfilled",
    "OrderUnfulfillable",
]


class LineOrdered(Struct, frozen=True):
    """How many pieces of a SKU, at which price each."""

    sku: str
    quantity: int
    unit_amount: int


class OrderCreated(Event, frozen=True, kw_only=True):
    """A customer has ordered. Its facts are what travels with the saga, for every step to read."""

    type: ClassVar[str] = "order.created"

    amount: int
    currency: str
    payment_method: str
    lines: tuple[LineOrdered, ...]


class OrderFulfilled(Event, frozen=True, kw_only=True):
    """Paid, and its stock is held: the customer will get it."""

    type: ClassVar[str] = "order.fulfilled"


class OrderUnfulfillable(Refusal, frozen=True, kw_only=True):
    """There is no such order any more, or it is being cancelled: what was done for it must be
    undone.
    """

    type: ClassVar[str] = "order.unfulfillable"

    code: str = "order_unfulfillable"
    detail: str = "The order is not known, or is already cancelled."


class OrderCancelling(Refusal, frozen=True, kw_only=True):
    """The order was called off before it was fulfilled: by the customer, unless it says
    otherwise.
    """

    type: ClassVar[str] = "order.cancelling"

    code: str = "cancelled_by_customer"
    detail: str = "Cancelled by the customer."


class OrderCancelled(Event, frozen=True, kw_only=True):
    """Everything is undone: the money is back and the stock is free."""

    type: ClassVar[str] = "order.cancelled"

    code: str
    detail: str
