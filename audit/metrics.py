"""Money in limbo for `/metrics`: captured for orders that have not ended. Orders and payments are
joined here.

That of an order on hold is counted, but is not what makes the oldest of it old: somebody has
decided that it waits.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.utils import timezone
from prometheus_client.core import Metric

from api.monitoring.sections import gauge, section
from sagas.operations import holds
from sagas.operations.table_stats import MOST
from sagas.storage import sql
from sagas.storage.registry import get_home

__all__ = ["Held", "Limbo", "limbo", "money_in_limbo"]

# The oldest open orders that are looked at, and how many in one statement.
ORDERS = 20_000
CHUNK = 5_000

# By their ids, which rise with time. The inner limit bounds what is sorted.
OPEN = """
SELECT id, {on_hold}
  FROM (SELECT id, on_hold FROM orders_order WHERE ended_at IS NULL ORDER BY rescue_at LIMIT %(most)s) s
 ORDER BY id LIMIT %(orders)s
"""

# A payment was last written when it was captured, as long as it stays so.
CAPTURED = """
SELECT currency, sum(amount)::bigint, count(*), min(updated_at) FILTER (WHERE order_id <> ALL(%(on_hold)s::uuid[]))
  FROM payments_payment
 WHERE order_id = ANY(%(orders)s::uuid[]) AND status = 'captured' GROUP BY currency
"""


class Held(NamedTuple):
    """Money of one currency, in minor units: for how many orders, and since when, unless all of
    them are on hold.
    """

    amount: int
    orders: int
    since: datetime | None

    @property
    def seconds(self) -> float:
        """Return how long the oldest of it has been held for an order that is not on hold; 0 if
        there is none.
        """
        return max(0.0, (timezone.now() - self.since).total_seconds()) if self.since else 0.0

    def and_also(self, other: "Held") -> "Held":
        """Add money of the same currency."""
        since = min((one.since for one in (self, other) if one.since), default=None)
        return Held(self.amount + other.amount, self.orders + other.orders, since)


class Limbo(NamedTuple):
    """What is held, by currency, and whether all open orders were looked at, and not the oldest
    only.
    """

    held: dict[str, Held]
    complete: bool


def limbo() -> Limbo:
    """Add up what was captured for open orders. Asks the databases of orders and of payments."""
    statement = OPEN.format(on_hold=holds.is_on_hold(get_home("orders")))
    orders = sql.fetch("default", statement, {"most": MOST, "orders": ORDERS + 1})
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
        yield gauge("money_in_limbo_orders", "Open orders with captured money.", currency=currency)(
            held.orders
        )
        age = "Since when the oldest of it is held, of orders that are not on hold."
        yield gauge("money_in_limbo_oldest_seconds", age, currency=currency)(held.seconds)


def _held(orders: Sequence[tuple[UUID, bool]]) -> dict[str, Held]:
    total: dict[str, Held] = {}
    for start in range(0, len(orders), CHUNK):
        chunk = orders[start : start + CHUNK]
        params = {
            "orders": [order for order, _ in chunk],
            "on_hold": [order for order, on_hold in chunk if on_hold],
        }
        for currency, *found in sql.fetch("payments", CAPTURED, params):
            held = Held(*found)
            total[currency] = total[currency].and_also(held) if currency in total else held
    return total
