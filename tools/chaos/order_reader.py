"""Read the orders and the returns from the database with plain SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg

__all__ = ["OrderCount", "OrderReader", "OrderRow", "ReturnRow"]

COUNT = "SELECT count(*) FILTER (WHERE ended_at IS NOT NULL), count(*) FROM orders_order"
ORDERS = """
SELECT o.id::text, k.key, o.status, o.failure_code, o.ended_at, o.plan->>'saga', o.amount
  FROM orders_order o LEFT JOIN orders_idempotencykey k ON k.order_id = o.id ORDER BY o.id
"""


RETURNS = """
SELECT id::text, order_id::text, status, failure_code, amount, ended_at
  FROM returns_return ORDER BY id
"""
NEEDED_ATTENTION = """
SELECT count(DISTINCT saga) FROM orders_timelineevent WHERE type = 'saga.needs_attention'
"""
OPEN_RETURNS = "SELECT count(*) FROM returns_return WHERE ended_at IS NULL"


class OrderCount(NamedTuple):
    """How many orders have ended, and how many exist."""

    ended: int
    total: int


class OrderRow(NamedTuple):
    """An order and its idempotency key. `amount` is in minor units."""

    id: str
    key: str | None
    status: str
    failure: str
    ended_at: datetime | None
    saga: str = "place_order"
    amount: int = 0

    @property
    def outcome(self) -> str:
        """`fulfilled`, or the failure code of a cancelled order; the status of an open one."""
        return self.failure if self.status == "cancelled" else self.status


class ReturnRow(NamedTuple):
    """A return. `amount` is in minor units."""

    id: str
    order: str
    status: str
    failure: str
    amount: int
    ended_at: datetime | None


class OrderReader:
    """Reads the database of orders.

    Each call opens a new connection, because the server may have been killed in between.
    """

    def __init__(self, url: str) -> None:
        """Read from the database at `url`."""
        self._url = url

    def count(self) -> OrderCount | None:
        """Count ended orders and all orders; return None while the database is down."""
        try:
            ((ended, total),) = self._fetch(COUNT)
        except psycopg.OperationalError:
            return None

        return OrderCount(ended=int(ended), total=int(total))

    def orders(self) -> list[OrderRow]:
        """Return all orders."""
        return [OrderRow(*row) for row in self._fetch(ORDERS)]

    def returns(self) -> list[ReturnRow]:
        """Return all returns."""
        return [ReturnRow(*row) for row in self._fetch(RETURNS)]

    def open_returns(self) -> int:
        """Count the returns that have not ended."""
        return int(self._fetch(OPEN_RETURNS)[0][0])

    def needed_attention(self) -> int:
        """Count the orders that needed the attention of a person at some time."""
        return int(self._fetch(NEEDED_ATTENTION)[0][0])

    def _fetch(self, query: str) -> Sequence[tuple]:
        with psycopg.connect(self._url, connect_timeout=5) as session:
            return session.execute(query.encode()).fetchall()
