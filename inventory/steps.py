"""The steps of the inventory service: reserve, release or ship the stock of an order."""

from collections import Counter
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from inventory import stock
from inventory.allocation import Demand, allocate
from inventory.events import (
    StockBarred,
    StockReleased,
    StockReserved,
    StockShipped,
    StockUnavailable,
)
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
    "OrderWithReservations",
    "record_manual_release",
    "record_manual_shipment",
    "release",
    "reserve",
    "ship",
]


class LineToReserve(Struct, frozen=True):
    """A line of the order: a SKU and the number of pieces."""

    sku: Annotated[str, Meta(min_length=1, max_length=SKU_LENGTH)]
    quantity: Annotated[int, Meta(gt=0)]


class OrderToReserve(Struct, frozen=True):
    """The context of `inventory.reserve`."""

    lines: Annotated[tuple[LineToReserve, ...], Meta(min_length=1)]


class OrderWithReservations(Struct, frozen=True):
    """The context of release and ship: they need only the order's id."""


class NothingReserved(Exception):
    """An order to release or ship has no reserved stock: an operator must check why."""


@action("inventory.reserve", accepts=OrderToReserve, refusal=StockUnavailable)
def reserve(batch: Batch[OrderToReserve]) -> list[Outcome]:
    """Reserve every line of an order, or none."""
    demands = [_demand(delivery) for delivery in batch]
    on_hand = stock.lock({sku for demand in demands for sku in demand.pieces})
    allocation = allocate(on_hand, demands)
    stock.reserve(allocation)
    return [
        StockUnavailable(sku=sku, detail=f"Not enough of {sku} in stock.")
        if (sku := allocation.missing.get(demand.order))
        else StockReserved(pieces=sum(demand.pieces.values()))
        for demand in demands
    ]


def record_manual_release(
    order: Delivery[OrderWithReservations], confirmation: ManualConfirmation
) -> StockReleased:
    """Record that an operator has put the order's pieces back on the shelf."""
    return StockReleased(pieces=_close_manually(order, Reservation.State.RELEASED))


def record_manual_shipment(
    order: Delivery[OrderWithReservations], confirmation: ManualConfirmation
) -> StockShipped:
    """Record that an operator has shipped the order's pieces."""
    return StockShipped(pieces=_close_manually(order, Reservation.State.SHIPPED))


@undo(
    "inventory.release",
    accepts=OrderWithReservations,
    manual=ManualCompletion(record=record_manual_release),
)
def release(batch: Batch[OrderWithReservations]) -> list[Outcome]:
    """Release the order's stock, if any was reserved. Raises NothingReserved if it was shipped."""
    released = stock.close_reservations(
        [delivery.saga for delivery in batch], Reservation.State.RELEASED
    )
    _require_reserved([delivery for delivery in batch if delivery.action_done], released)
    return [
        StockReleased(pieces=pieces) if (pieces := released[delivery.saga]) else StockBarred()
        for delivery in batch
    ]


@action(
    "inventory.ship",
    accepts=OrderWithReservations,
    manual=ManualCompletion(record=record_manual_shipment),
)
def ship(batch: Batch[OrderWithReservations]) -> list[Outcome]:
    """Ship the order's stock."""
    shipped = stock.close_reservations(
        [delivery.saga for delivery in batch], Reservation.State.SHIPPED
    )
    _require_reserved(batch, shipped)
    return [StockShipped(pieces=shipped[delivery.saga]) for delivery in batch]


def _demand(delivery: Delivery[OrderToReserve]) -> Demand:
    pieces: Counter[str] = Counter()
    for line in delivery.context.lines:
        pieces[line.sku] += line.quantity
    return Demand(delivery.saga, pieces)


def _close_manually(order: Delivery[OrderWithReservations], state: Reservation.State) -> int:
    pieces = stock.close_reservations([order.saga], state)
    try:
        _require_reserved([order], pieces)
    except NothingReserved as error:
        raise ManualCompletionRefused(str(error)) from error
    return pieces[order.saga]


def _require_reserved(batch: Batch[OrderWithReservations], pieces: Counter[UUID]) -> None:
    empty = [str(delivery.saga) for delivery in batch if not pieces[delivery.saga]]
    if empty:
        raise NothingReserved(
            f"These orders have no reserved stock; check their reservations: {', '.join(empty)}."
        )
