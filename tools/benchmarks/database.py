"""Read and fill the databases of a stack with plain SQL."""

from typing import Any, NamedTuple

import psycopg

from tools.benchmarks.order_data import SKUS, SOLD_OUT
from tools.local.errors import LocalError
from tools.local.processes import poll
from tools.local.servers import DATABASE_VARIABLES
from tools.local.stack import ADMIN, Stack

__all__ = ["BenchmarkFailed", "Database", "Ending", "Span"]

PIECES = 100_000_000
# Time limit for the last order of a run, in seconds.
LIMIT = 600
LOOK_SECONDS = 0.1

PRODUCTS = """
INSERT INTO orders_product (sku, name, unit_amount, currency)
SELECT unnest(%s::text[]), 'Piece', 1000, 'eur'
"""
STOCK = "INSERT INTO inventory_stockitem (sku, on_hand) SELECT unnest(%s::text[]), %s"
DELIVERY = """
INSERT INTO inventory_stockadjustment (sku, quantity, reason, by)
SELECT unnest(%s::text[]), %s, 'delivery', %s
"""
# EXISTS instead of count(*): counting a backlog of 100,000 rows ten times a second uses much of a
# CPU.
OPEN = "SELECT EXISTS (SELECT FROM orders_order WHERE ended_at IS NULL)"
ENDED = """
SELECT extract(epoch FROM max(ended_at))::float8, extract(epoch FROM min(created_at))::float8,
       count(*) FILTER (WHERE status = 'fulfilled'), count(*) FILTER (WHERE status = 'cancelled')
  FROM orders_order WHERE created_at >= to_timestamp(%s)
"""
# The time of the final status: `updated_at` does not change afterwards.
TERMINAL = """
SELECT id::text, extract(epoch FROM {column})::float8 FROM orders_order
 WHERE created_at >= to_timestamp(%s) AND status IN ('fulfilled', 'cancelled')
"""
ENDINGS = """
SELECT id::text, status, extract(epoch FROM updated_at)::float8 FROM orders_order
 WHERE created_at >= to_timestamp(%s) AND status IN ('fulfilled', 'cancelled')
"""
END_ALL = "UPDATE orders_order SET ended_at = now() WHERE ended_at IS NULL"


class BenchmarkFailed(LocalError):
    """A run did not do the work that it measures."""


class Span(NamedTuple):
    """When the first order was placed and the last order ended, in Unix time."""

    first_placed_at: float
    last_ended_at: float


class Ending(NamedTuple):
    """The final status of an order, `fulfilled` or `cancelled`, and its Unix time."""

    status: str
    at: float


class Database:
    """The three databases of a stack."""

    def __init__(self, stack: Stack) -> None:
        """Use the databases of `stack`."""
        self._urls = {
            service: stack.env[variable] for variable, service in DATABASE_VARIABLES.items()
        }

    def create_products(self) -> None:
        """Insert the products and their stock."""
        self._run("orders", PRODUCTS, [[*SKUS, SOLD_OUT]])
        self._run("inventory", STOCK, [SKUS, PIECES])
        self._run("inventory", DELIVERY, [SKUS, PIECES, ADMIN])

    def analyze(self) -> None:
        """Update the planner's statistics."""
        for service in self._urls:
            self._run(service, "ANALYZE")

    def vacuum(self) -> None:
        """Vacuum now. Otherwise autovacuum does it within a minute, during a measurement."""
        for service in self._urls:
            self._run(service, "VACUUM")

    def wait_until_ended(self) -> None:
        """Wait until no order is open."""
        if not self.end_within(LIMIT):
            raise BenchmarkFailed(
                f"Some orders have not ended after {LIMIT} s. Check that the workers are running."
            )

    def end_within(self, seconds: float) -> bool:
        """Wait until no order is open; return False after `seconds`."""
        with psycopg.connect(self._urls["orders"], autocommit=True) as session:
            return any(
                session.execute(OPEN).fetchone() == (False,)
                for _ in poll(seconds, pause=LOOK_SECONDS)
            )

    def endings(self, since: float) -> dict[str, Ending]:
        """Map the id of each order placed since a moment to its final status, if it has one."""
        return {order: Ending(status, at) for order, status, at in self._fetch(ENDINGS, [since])}

    def span(self, since: float, *, fulfilled: int, cancelled: int) -> Span:
        """Return the time span of the orders placed since a moment, in Unix time.

        Raises BenchmarkFailed unless exactly `fulfilled` and `cancelled` orders ended so.
        """
        ((end, first, done, undone),) = self._fetch(ENDED, [since])
        if (done, undone) != (fulfilled, cancelled):
            raise BenchmarkFailed(
                f"{done} orders were fulfilled and {undone} cancelled, "
                f"but {fulfilled} and {cancelled} were expected."
            )

        return Span(first_placed_at=first, last_ended_at=end)

    def terminal(self, since: float, *, column: str) -> dict[str, float]:
        """Map the id of each order placed since a moment to the Unix time of its final status."""
        return dict(self._fetch(TERMINAL.format(column=column), [since]))

    def end_all(self) -> None:
        """Mark all open orders as ended."""
        self._run("orders", END_ALL)

    def versions(self) -> str:
        """Return PostgreSQL's version."""
        return str(self._fetch("SHOW server_version")[0][0])

    def _run(self, service: str, statement: str, parameters: list[Any] | None = None) -> None:
        with psycopg.connect(self._urls[service], autocommit=True) as session:
            session.execute(statement.encode(), parameters)

    def _fetch(self, statement: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._urls["orders"], autocommit=True) as session:
            return session.execute(statement.encode(), parameters).fetchall()
