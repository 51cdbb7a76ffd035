"""The events of orders. Amounts are in minor units of `currency` (lower-case ISO 4217)."""

from typing import ClassVar

from msgspec import Struct

from sagas import Event, Refusal

__all__ = [
    "LineOrdered",
    "OrderCancelled",
    "OrderCancelling",
    "OrderCreated",
    "OrderFulfilled",
    "OrderUnfulfillable",
]


class LineOrdered(Struct, frozen=True):
    """A line of an order, with its price per piece."""

    sku: str
    quantity: int
    unit_amount: int


class OrderCreated(Event, frozen=True, kw_only=True):
    """An order was placed. Its fields become the saga's context, which every step can read."""

    type: ClassVar[str] = "order.created"

    amount: int
    currency: str
    payment_method: str
    lines: tuple[LineOrdered, ...]


class OrderFulfilled(Event, frozen=True, kw_only=True):
    """The order is paid or free, and its stock is reserved: the customer will receive it."""

    type: ClassVar[str] = "order.fulfilled"


class OrderUnfulfillable(Refusal, frozen=True, kw_only=True):
    """The order no longer exists or is being cancelled, so its steps must be undone."""

    type: ClassVar[str] = "order.unfulfillable"

    code: str = "order_unfulfillable"
    detail: str = "The order is not known, or is already cancelled."


class OrderCancelling(Refusal, frozen=True, kw_only=True):
    """The order was cancelled before it was fulfilled; by default, by the customer."""

    type: ClassVar[str] = "order.cancelling"

    code: str = "cancelled_by_customer"
    detail: str = "Cancelled by the customer."


class OrderCancelled(Event, frozen=True, kw_only=True):
    """All steps are undone: the money is refunded and the stock is released."""

    type: ClassVar[str] = "order.cancelled"

    code: str
    detail: str
