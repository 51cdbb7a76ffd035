"""Inventory's part in a saga: hold the stock of an order, give it back, or ship it."""

from collections import Counter
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from inventory import stock
from inventory.allocation import Demand, allocate
from inventory.events import StockReleased, StockReserved, StockShipped, StockUnavailable
from inventory.models import SKU_LENGTH, Reservation
from sagas.definition.handlers import (
    Batch,
    Delivery,
    ManualCompletion,
    ManualCompletionRefused,
    ManualConfirmation,
    Outcome,
    action,
    undo,
)

__all__ = [
    "LineToReserve",
    "NothingReserved",
    "OrderToReserve",
    "OrderToSettle",
    "record_manual_release",
    "record_manual_shipment",
    "release",
    "reserve",
    "ship",
]


class LineToReserve(Struct, frozen=True):
    """How many pieces of a SKU an order wants."""

    sku: Annotated[str, Meta(min_length=1, max_length=SKU_LENGTH)]
    quantity: Annotated[int, Meta(gt=0)]


class OrderToReserve(Struct, frozen=True):
    """What `inventory.reserve` reads of the saga's context."""

    lines: Annotated[tuple[LineToReserve, ...], Meta(min_length=1)]


class OrderToSettle(Struct, frozen=True):
    """Release and ship need no more than the order's id: the reservations say what it holds."""


class NothingReserved(Exception):
    """An order was to give back or to ship what it does not hold any more. A person must look at
    its reservations.
    """


@action("inventory.reserve", accepts=OrderToReserve, refusal=StockUnavailable)
def reserve(batch: Batch[OrderToReserve]) -> list[Outcome]:
    """Hold every line of an order, or none of them."""
    demands = [_demand(delivery) for delivery in batch]
    on_hand = stock.lock({sku for demand in demands for sku in demand.pieces})
    allocation = allocate(on_hand, demands)
    stock.hold(allocation)
    return [
        StockUnavailable(sku=sku, detail=f"Not enough of {sku} in stock.")
        if (sku := allocation.missing.get(demand.order))
        else StockReserved(pieces=sum(demand.pieces.values()))
        for demand in demands
    ]


def record_manual_release(
    order: Delivery[OrderToSettle], confirmation: ManualConfirmation
) -> StockReleased:
    """Commit that a person has put back what an order holds."""
    return StockReleased(pieces=_settled_by_hand(order, Reservation.State.RELEASED))


def record_manual_shipment(
    order: Delivery[OrderToSettle], confirmation: ManualConfirmation
) -> StockShipped:
    """Commit that a person has sent off what an order holds."""
    return StockShipped(pieces=_settled_by_hand(order, Reservation.State.SHIPPED))


@undo(
    "inventory.release",
    accepts=OrderToSettle,
    manual=ManualCompletion(record=record_manual_release),
)
def release(batch: Batch[OrderToSettle]) -> list[Outcome]:
    """Put back on hand what an order holds. What has been shipped does not come back: it raises."""
    released = stock.settle([delivery.saga for delivery in batch], Reservation.State.RELEASED)
    _require_held([delivery for delivery in batch if delivery.action_done], released)
    return [StockReleased(pieces=released[delivery.saga]) for delivery in batch]


@action(
    "inventory.ship", accepts=OrderToSettle, manual=ManualCompletion(record=record_manual_shipment)
)
def ship(batch: Batch[OrderToSettle]) -> list[Outcome]:
    """Send off what an order holds."""
    shipped = stock.settle([delivery.saga for delivery in batch], Reservation.State.SHIPPED)
    _require_held(batch, shipped)
    return [StockShipped(pieces=shipped[delivery.saga]) for delivery in batch]


def _demand(delivery: Delivery[OrderToReserve]) -> Demand:
    pieces: Counter[str] = Counter()
    for line in delivery.context.lines:
        pieces[line.sku] += line.quantity
    return Demand(delivery.saga, pieces)


def _settled_by_hand(order: Delivery[OrderToSettle], state: Reservation.State) -> int:
    settled = stock.settle([order.saga], state)
    try:
        _require_held([order], settled)
    except NothingReserved as error:
        raise ManualCompletionRefused(str(error)) from error
    return settled[order.saga]


def _require_held(batch: Batch[OrderToSettle], settled: Counter[UUID]) -> None:
    empty = [str(delivery.saga) for delivery in batch if not settled[delivery.saga]]
    if empty:
        raise NothingReserved(f"These orders hold no stock any more: {', '.join(empty)}.")
