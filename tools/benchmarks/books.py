"""The orders' tables, read and filled from outside with plain SQL."""

from typing import Any

import psycopg

from tools.benchmarks.shop import SKUS, SOLD_OUT
from tools.local.errors import LocalError
from tools.local.processes import poll
from tools.local.servers import DATABASE_VARIABLES
from tools.local.stack import ADMIN, Stack

__all__ = ["BenchmarkFailed", "Books"]

PIECES = 100_000_000
# The longest a run waits for its last order. Seconds.
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
# Whether, not how many: to count a backlog of 100,000 ten times a second takes a good part of a
# CPU.
OPEN = "SELECT EXISTS (SELECT FROM orders_order WHERE ended_at IS NULL)"
ENDED = """
SELECT extract(epoch FROM max(ended_at))::float8, extract(epoch FROM min(created_at))::float8,
       count(*) FILTER (WHERE status = 'fulfilled'), count(*) FILTER (WHERE status = 'cancelled')
  FROM orders_order WHERE created_at >= to_timestamp(%s)
"""
# When the status became a final one: nothing touches `updated_at` after that.
TERMINAL = """
SELECT id::text, extract(epoch FROM {column})::float8 FROM orders_order
 WHERE created_at >= to_timestamp(%s) AND status IN ('fulfilled', 'cancelled')
"""
END_ALL = "UPDATE orders_order SET ended_at = now() WHERE ended_at IS NULL"


class BenchmarkFailed(LocalError):
    """A run did not do what it was to measure."""


class Books:
    """The three databases of a stack."""

    def __init__(self, stack: Stack) -> None:
        """Take the stack."""
        self._urls = {
            service: stack.env[variable] for variable, service in DATABASE_VARIABLES.items()
        }

    def open_shop(self) -> None:
        """Put the products into the catalogue and the pieces into the stock."""
        self._run("orders", PRODUCTS, [[*SKUS, SOLD_OUT]])
        self._run("inventory", STOCK, [SKUS, PIECES])
        self._run("inventory", DELIVERY, [SKUS, PIECES, ADMIN])

    def analyze(self) -> None:
        """Have the planner know the tables."""
        for service in self._urls:
            self._run(service, "ANALYZE")

    def tidy(self) -> None:
        """Do now what autovacuum would do within a minute, in the midst of whatever is measured
        then.
        """
        for service in self._urls:
            self._run(service, "VACUUM")

    def wait_until_ended(self) -> None:
        """Wait until no order is open."""
        with psycopg.connect(self._urls["orders"], autocommit=True) as session:
            for _ in poll(LIMIT, pause=LOOK_SECONDS):
                if session.execute(OPEN).fetchone() == (False,):
                    return
        raise BenchmarkFailed(f"There are orders that have not ended after {LIMIT} s.")

    def span(self, since: float, *, fulfilled: int, cancelled: int) -> tuple[float, float]:
        """Return when the first order was placed and the last ended since a moment, all in Unix
        time.

        Raise BenchmarkFailed unless that many were fulfilled and cancelled.
        """
        ((end, first, done, undone),) = self._fetch(ENDED, [since])
        if (done, undone) != (fulfilled, cancelled):
            raise BenchmarkFailed(
                f"{done} orders were fulfilled and {undone} cancelled, not {fulfilled}, {cancelled}."
            )
        return first, end

    def terminal(self, since: float, *, column: str) -> dict[str, float]:
        """Return when each order since a moment reached its final status, by its id, in Unix
        time.
        """
        return dict(self._fetch(TERMINAL.format(column=column), [since]))

    def end_all(self) -> None:
        """Close the orders that nobody works on."""
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
