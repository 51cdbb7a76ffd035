"""Waiting for an order: until it is decided, or until anything about it has changed."""

from collections.abc import Callable, Sequence
from uuid import UUID

from msgspec import Struct

from api.waiting import Room
from orders.status import TERMINAL
from sagas.storage import sql

__all__ = ["ROOM", "Pulse", "pulse_of", "wait_until_decided"]

# The row's xmin is another after every commit that changed the row, and each event of the timeline
# changes it.
LOOK = """
SELECT id, xmin::text, status = ANY(%(terminal)s), ended_at IS NOT NULL
  FROM orders_order WHERE id = ANY(%(orders)s::uuid[])
"""


class Pulse(Struct, frozen=True):
    """Where an order stands: `decided` is fulfilled or cancelled; `ended` is when nothing is
    left to be done.
    """

    version: str
    decided: bool
    ended: bool


def look(orders: Sequence[UUID]) -> dict[UUID, Pulse]:
    """Return the pulse of each of these orders."""
    params = {"orders": list(orders), "terminal": [status.value for status in TERMINAL]}
    return {order: Pulse(*rest) for order, *rest in sql.fetch("default", LOOK, params)}


ROOM: Room[Pulse] = Room(look)


def pulse_of(order: UUID) -> Pulse | None:
    """Return the pulse of one order, if there is one."""
    return look([order]).get(order)


def wait_until_decided(order: UUID, *, seconds: float, gone: Callable[[], bool]) -> None:
    """Wait until an order is fulfilled or cancelled, for some seconds at most. Raises
    `RoomFull`.
    """
    if seconds and not _decided(pulse_of(order)):
        with ROOM.enter(gone) as place:
            place.wait(order, _decided, seconds=seconds)


def _decided(pulse: Pulse | None) -> bool:
    return pulse is None or pulse.decided
