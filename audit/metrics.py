"""Money in limbo for `/metrics`: captured for orders that have not ended. Orders and payments are joined here."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.utils import timezone
from prometheus_client.core import Metric

from api.metrics import gauge, section
from sagas import sql
from sagas.gauges import MOST

__all__ = ["Held", "Limbo", "limbo", "money_in_limbo"]

# The oldest open orders that are looked at, and how many in one statement.
ORDERS = 20_000
CHUNK = 5_000

# By their ids, which rise with time. The inner limit bounds what is sorted.
OPEN = """
SELECT id FROM (SELECT id FROM orders_order WHERE ended_at IS NULL ORDER BY rescue_at LIMIT %(most)s) open
 ORDER BY id LIMIT %(orders)s
"""

# A payment was last written when it was captured, as long as it stays so.
CAPTURED = """
SELECT currency, sum(amount)::bigint, count(*), min(updated_at) FROM payments_payment
 WHERE order_id = ANY(%(orders)s::uuid[]) AND status = 'captured' GROUP BY currency
"""


class Held(NamedTuple):
    """Money of one currency, in minor units: for how many orders, and since when the oldest of it is held."""

    amount: int
    orders: int
    since: datetime

    @property
    def seconds(self) -> float:
        """Return how long the oldest of it has been held."""
        return max(0.0, (timezone.now() - self.since).total_seconds())

    def and_also(self, other: "Held") -> "Held":
        """Add money of the same currency."""
        return Held(self.amount + other.amount, self.orders + other.orders, min(self.since, other.since))


class Limbo(NamedTuple):
    """What is held, by currency, and whether all open orders were looked at, and not the oldest only."""

    held: dict[str, Held]
    complete: bool


def limbo() -> Limbo:
    """Add up what was captured for open orders. Asks the databases of orders and of payments."""
    orders = [order for (order,) in sql.fetch("default", OPEN, {"most": MOST, "orders": ORDERS + 1})]
    return Limbo(_held(orders[:ORDERS]), complete=len(orders) <= ORDERS)


@section("money")
def money_in_limbo() -> Iterator[Metric]:
    """Add up what was captured for open orders, by currency."""
    found = limbo()
    complete = "Whether all open orders were looked at, and not the oldest only."
    yield gauge("money_in_limbo_complete", complete)(found.complete)
    for currency, held in found.held.items():
        amount = "Captured for orders that have not ended, in minor units of the currency."
        yield gauge("money_in_limbo_minor_units", amount, currency=currency)(held.amount)
        yield gauge("money_in_limbo_orders", "Open orders with captured money.", currency=currency)(held.orders)
        age = "Since when the oldest of it is held."
        yield gauge("money_in_limbo_oldest_seconds", age, currency=currency)(held.seconds)


def _held(orders: Sequence[UUID]) -> dict[str, Held]:
    total: dict[str, Held] = {}
    for start in range(0, len(orders), CHUNK):
        for currency, *found in sql.fetch("payments", CAPTURED, {"orders": orders[start : start + CHUNK]}):
            held = Held(*found)
            total[currency] = total[currency].and_also(held) if currency in total else held
    return total
