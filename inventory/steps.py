"""The steps of the inventory service: reserve, release or ship the stock of an order.

`inventory.restock` has the step of a return.
"""

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
from inventory.restock import restock
from sagas import Batch, Delivery, action, undo
from sagas.manual import ManualCompletion, ManualCompletionRefused, ManualConfirmation
from sagas.outcomes import Outcome, Waiting

__all__ = [
    "LineToReserve",
    "NothingReserved",
    "OrderToReserve",
    "OrderWithReservations",
    "record_manual_release",
    "record_manual_shipment",
    "release",
    "reserve",
    "restock",
    "ship",
]


# Seconds until an order tries again whose item another transaction has locked.
PAUSE_WHILE_BUSY = 1.0


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
    """Reserve every line of an order, or none. An order with a locked item waits for it."""
    demands = [_demand(delivery) for delivery in batch]
    locked = stock.lock({sku for demand in demands for sku in demand.pieces})
    busy = {demand.order: locked.first_busy(demand.pieces) for demand in demands}
    allocation = allocate(
        locked.on_hand, [demand for demand in demands if busy[demand.order] is None]
    )
    stock.reserve(allocation)

    def outcome(demand: Demand) -> Outcome:
        if sku := busy[demand.order]:
            return _item_is_busy(sku)
        if sku := allocation.missing.get(demand.order):
            return StockUnavailable(sku=sku, detail=f"Not enough of {sku} in stock.")
        return StockReserved(pieces=sum(demand.pieces.values()))

    return [outcome(demand) for demand in demands]


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
    busy, free = _lock_items(batch)
    released = _close(free, Reservation.State.RELEASED)
    _require_reserved([delivery for delivery in free if delivery.action_done], released)

    def outcome(delivery: Delivery[OrderWithReservations]) -> Outcome:
        if sku := busy.get(delivery.saga):
            return _item_is_busy(sku)
        pieces = released[delivery.saga]
        return StockReleased(pieces=pieces) if pieces else StockBarred()

    return [outcome(delivery) for delivery in batch]


@action(
    "inventory.ship",
    accepts=OrderWithReservations,
    manual=ManualCompletion(record=record_manual_shipment),
)
def ship(batch: Batch[OrderWithReservations]) -> list[Outcome]:
    """Ship the order's stock."""
    busy, free = _lock_items(batch)
    shipped = _close(free, Reservation.State.SHIPPED)
    _require_reserved(free, shipped)
    return [
        _item_is_busy(sku)
        if (sku := busy.get(delivery.saga))
        else StockShipped(pieces=shipped[delivery.saga])
        for delivery in batch
    ]


def _demand(delivery: Delivery[OrderToReserve]) -> Demand:
    pieces: Counter[str] = Counter()
    for line in delivery.context.lines:
        pieces[line.sku] += line.quantity
    return Demand(delivery.saga, pieces)


def _lock_items(
    batch: Batch[OrderWithReservations],
) -> tuple[dict[UUID, str], Batch[OrderWithReservations]]:
    """Lock the items of a batch; return the orders with a busy item, and the other deliveries."""
    busy = stock.lock_items_of_orders([delivery.saga for delivery in batch])
    return busy, [delivery for delivery in batch if delivery.saga not in busy]


def _close(batch: Batch[OrderWithReservations], state: Reservation.State) -> Counter[UUID]:
    return stock.close_reservations([delivery.saga for delivery in batch], state)


def _item_is_busy(sku: str) -> Waiting:
    """Return the outcome of an order that needs an item which another transaction has locked."""
    return Waiting(f"Another transaction has locked the stock item {sku}.", PAUSE_WHILE_BUSY)


def _close_manually(order: Delivery[OrderWithReservations], state: Reservation.State) -> int:
    busy, _ = _lock_items([order])
    if busy:
        raise ManualCompletionRefused(
            f"Another transaction has locked the stock item {busy[order.saga]}. Try again."
        )
    pieces = _close([order], state)
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
