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

__all__ = ["money_in_limbo"]

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


class _Held(NamedTuple):
    amount: int
    orders: int
    since: datetime

    def and_also(self, other: "_Held") -> "_Held":
        return _Held(self.amount + other.amount, self.orders + other.orders, min(self.since, other.since))


@section("money")
def money_in_limbo() -> Iterator[Metric]:
    """Add up what was captured for open orders, by currency."""
    orders = [order for (order,) in sql.fetch("default", OPEN, {"most": MOST, "orders": ORDERS + 1})]
    complete = "Whether all open orders were looked at, and not the oldest only."
    yield gauge("money_in_limbo_complete", complete)(len(orders) <= ORDERS)
    for currency, held in _held(orders[:ORDERS]).items():
        amount = "Captured for orders that have not ended, in minor units of the currency."
        yield gauge("money_in_limbo_minor_units", amount, currency=currency)(held.amount)
        yield gauge("money_in_limbo_orders", "Open orders with captured money.", currency=currency)(held.orders)
        age = max(0.0, (timezone.now() - held.since).total_seconds())
        yield gauge("money_in_limbo_oldest_seconds", "Since when the oldest of it is held.", currency=currency)(age)


def _held(orders: Sequence[UUID]) -> dict[str, _Held]:
    total: dict[str, _Held] = {}
    for start in range(0, len(orders), CHUNK):
        for currency, *found in sql.fetch("payments", CAPTURED, {"orders": orders[start : start + CHUNK]}):
            held = _Held(*found)
            total[currency] = total[currency].and_also(held) if currency in total else held
    return total
