"""Read the orders from the database with plain SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg

__all__ = ["OrderCount", "OrderReader", "OrderRow"]

COUNT = "SELECT count(*) FILTER (WHERE ended_at IS NOT NULL), count(*) FROM orders_order"
ORDERS = """
SELECT o.id::text, k.key, o.status, o.failure_code, o.ended_at, o.plan->>'saga', o.amount
  FROM orders_order o LEFT JOIN orders_idempotencykey k ON k.order_id = o.id ORDER BY o.id
"""


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

    def _fetch(self, query: str) -> Sequence[tuple]:
        with psycopg.connect(self._url, connect_timeout=5) as session:
            return session.execute(query.encode()).fetchall()
