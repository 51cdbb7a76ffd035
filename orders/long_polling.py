"""Long polling of orders: wait until an order is decided, or until anything about it changes."""

from collections.abc import Callable, Sequence
from uuid import UUID

from msgspec import Struct

from api.responses.long_poller import LongPoller
from orders.status import TERMINAL
from sagas.storage import sql

__all__ = ["LONG_POLLER", "OrderVersion", "order_version", "wait_until_decided"]

# Every commit that changes the row changes its xmin, and every timeline event changes the row.
VERSIONS = """
SELECT id, xmin::text, status = ANY(%(terminal)s), ended_at IS NOT NULL
  FROM orders_order WHERE id = ANY(%(orders)s::uuid[])
"""


class OrderVersion(Struct, frozen=True):
    """A version of an order's row.

    `decided`: the order is fulfilled or cancelled. `ended`: its saga has no steps left.
    """

    version: str
    decided: bool
    ended: bool


def fetch_versions(orders: Sequence[UUID]) -> dict[UUID, OrderVersion]:
    """Return the current versions of orders."""
    params = {"orders": list(orders), "terminal": [status.value for status in TERMINAL]}
    rows = sql.fetch("default", VERSIONS, params)
    return {order: OrderVersion(*fields) for order, *fields in rows}


LONG_POLLER: LongPoller[OrderVersion] = LongPoller(fetch_versions)


def order_version(order: UUID) -> OrderVersion | None:
    """Return the current version of an order, if it exists."""
    return fetch_versions([order]).get(order)


def wait_until_decided(order: UUID, *, seconds: float, disconnected: Callable[[], bool]) -> None:
    """Wait some seconds for an order to be fulfilled or cancelled. Raises `TooManyWaiters`."""
    if seconds and not _is_decided(order_version(order)):
        with LONG_POLLER.acquire(disconnected) as slot:
            slot.wait(order, _is_decided, seconds=seconds)


def _is_decided(version: OrderVersion | None) -> bool:
    return version is None or version.decided
