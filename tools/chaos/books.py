"""The orders as the database has them, read from outside with plain SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg

__all__ = ["Books", "OrderRow"]

COUNT = "SELECT count(*) FILTER (WHERE ended_at IS NOT NULL), count(*) FROM orders_order"
ORDERS = """
SELECT o.id::text, k.key, o.status, o.failure_code, o.ended_at, o.plan->>'saga'
  FROM orders_order o LEFT JOIN orders_idempotencykey k ON k.order_id = o.id ORDER BY o.id
"""


class OrderRow(NamedTuple):
    """An order, and the key it was placed under."""

    id: str
    key: str | None
    status: str
    failure: str
    ended_at: datetime | None
    saga: str = "place_order"

    @property
    def outcome(self) -> str:
        """How it ended: `fulfilled`, or the code of why not; its status where it is still open."""
        return self.failure if self.status == "cancelled" else self.status


class Books:
    """The orders' database. A new connection each time, for the server may have been killed
    since.
    """

    def __init__(self, url: str) -> None:
        """Take the URL of the orders' database."""
        self._url = url

    def count(self) -> tuple[int, int] | None:
        """Return how many orders have ended, and how many there are; None while the database is
        down.
        """
        try:
            ((ended, there_are),) = self._fetch(COUNT)
        except psycopg.OperationalError:
            return None
        return int(ended), int(there_are)

    def orders(self) -> list[OrderRow]:
        """Return all orders."""
        return [OrderRow(*row) for row in self._fetch(ORDERS)]

    def _fetch(self, query: str) -> Sequence[tuple]:
        with psycopg.connect(self._url, connect_timeout=5) as session:
            return session.execute(query.encode()).fetchall()
