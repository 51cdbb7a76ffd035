"""The step that takes the goods of a return: back to stock, or written off."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from inventory import stock
from inventory.events import StockRestocked
from inventory.models import SKU_LENGTH
from inventory.restocking import ReturnedLine, missing
from inventory.restocking import restock as put_back
from sagas import Batch, Delivery, From, action
from sagas.manual import ManualCompletion, ManualCompletionRefused, ManualConfirmation
from sagas.outcomes import Outcome, Waiting

__all__ = ["NotShipped", "PiecesReceived", "Received", "ReturnToRestock", "restock"]

# Seconds until a return tries again whose item is locked, or whose order is not shipped yet.
PAUSE_WHILE_BUSY = 1.0
PAUSE_UNTIL_SHIPPED = 5.0

Pieces = Annotated[int, Meta(ge=0)]


class PiecesReceived(Struct, frozen=True):
    """The pieces of one SKU that came back: to be restocked, and to be written off."""

    sku: Annotated[str, Meta(min_length=1, max_length=SKU_LENGTH)]
    restock: Pieces
    write_off: Pieces


class Received(Struct, frozen=True):
    """The part of an accepted return that is read here."""

    lines: tuple[PiecesReceived, ...]


class ReturnToRestock(Struct, frozen=True):
    """The context of `inventory.restock`."""

    order_id: UUID
    accepted: Annotated[Received, From("returns.accept")]


class NotShipped(Exception):
    """More pieces came back than the order has: an operator must check why."""


def record_manual_restock(
    delivery: Delivery[ReturnToRestock], confirmation: ManualConfirmation
) -> StockRestocked:
    """Record that an operator has put the pieces of a return on the shelf, or thrown them away."""
    try:
        [outcome] = _restock([delivery])
    except NotShipped as error:
        raise ManualCompletionRefused(str(error)) from error
    if isinstance(outcome, Waiting):
        raise ManualCompletionRefused(f"{outcome.reason} Try again.")
    return outcome


@action(
    "inventory.restock",
    accepts=ReturnToRestock,
    manual=ManualCompletion(record=record_manual_restock),
)
def restock(batch: Batch[ReturnToRestock]) -> list[Outcome]:
    """Count the pieces of each return as returned. Resellable pieces are on hand again."""
    return [*_restock(batch)]


def _restock(batch: Batch[ReturnToRestock]) -> list[StockRestocked | Waiting]:
    lines = {delivery.saga: _lines_of(delivery) for delivery in batch}
    locked = stock.lock({line.sku for each in lines.values() for line in each})
    waiting: dict[UUID, Waiting] = {}
    for saga, each in lines.items():
        if sku := locked.first_busy(line.sku for line in each):
            waiting[saga] = _busy(sku)

    free = [line for saga, each in lines.items() if saga not in waiting for line in each]
    for line, shipped in missing(free):
        if not shipped.held:
            raise NotShipped(
                f"Of {line.sku}, {line.pieces} pieces came back with return {line.return_}, but"
                f" order {line.order} has {shipped.left} left. Check its reservations and returns."
            )
        waiting[line.return_] = _not_yet(line)
    put_back(line for line in free if line.return_ not in waiting)
    return [waiting.get(saga) or _restocked(each) for saga, each in lines.items()]


def _lines_of(delivery: Delivery[ReturnToRestock]) -> Sequence[ReturnedLine]:
    return [
        ReturnedLine(
            delivery.saga, delivery.context.order_id, line.sku, line.restock, line.write_off
        )
        for line in delivery.context.accepted.lines
        if line.restock or line.write_off
    ]


def _restocked(lines: Sequence[ReturnedLine]) -> StockRestocked:
    return StockRestocked(
        restocked=sum(line.restock for line in lines),
        written_off=sum(line.write_off for line in lines),
    )


def _busy(sku: str) -> Waiting:
    return Waiting(f"Another transaction has locked the stock item {sku}.", PAUSE_WHILE_BUSY)


def _not_yet(line: ReturnedLine) -> Waiting:
    return Waiting(f"{line.sku} of order {line.order} is not shipped yet.", PAUSE_UNTIL_SHIPPED)
