"""Waiting for an order: until it is decided, or until anything about it has changed."""

from collections.abc import Callable, Sequence
from uuid import UUID

from msgspec import Struct

from api.responses.long_poller import LongPoller
from orders.status import TERMINAL
from sagas.storage import sql

__all__ = ["LONG_POLLER", "OrderVersion", "order_version", "wait_until_decided"]

# The row's xmin is another after every commit that changed the row, and each event of the timeline
# changes it.
LOOK = """
SELECT id, xmin::text, status = ANY(%(terminal)s), ended_at IS NOT NULL
  FROM orders_order WHERE id = ANY(%(orders)s::uuid[])
"""


class OrderVersion(Struct, frozen=True):
    """Where an order stands: `decided` is fulfilled or cancelled; `ended` is when nothing is
    left to be done.
    """

    version: str
    decided: bool
    ended: bool


def look(orders: Sequence[UUID]) -> dict[UUID, OrderVersion]:
    """Return the pulse of each of these orders."""
    params = {"orders": list(orders), "terminal": [status.value for status in TERMINAL]}
    return {order: OrderVersion(*rest) for order, *rest in sql.fetch("default", LOOK, params)}


LONG_POLLER: LongPoller[OrderVersion] = LongPoller(look)


def order_version(order: UUID) -> OrderVersion | None:
    """Return the pulse of one order, if there is one."""
    return look([order]).get(order)


def wait_until_decided(order: UUID, *, seconds: float, disconnected: Callable[[], bool]) -> None:
    """Wait until an order is fulfilled or cancelled, for some seconds at most. Raises
    `TooManyWaiters`.
    """
    if seconds and not _decided(order_version(order)):
        with LONG_POLLER.acquire(disconnected) as slot:
            slot.wait(order, _decided, seconds=seconds)


def _decided(pulse: OrderVersion | None) -> bool:
    return pulse is None or pulse.decided
