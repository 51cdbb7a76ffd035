"""Metrics across the services: unsettled money, reconciliation, scheduled audit, log of staff.

Unsettled money is captured for orders that have not ended. Orders and payments are joined here.
Money of an order on hold is included in the amount, but not in the age of the oldest money,
because an operator decided that the order waits. The same applies to an order that waits as agreed.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.utils import timezone
from prometheus_client.core import Metric

from api.monitoring.sections import gauge, section
from audit import scheduled
from payments import reconciliation
from sagas import sql
from sagas.kinds import all_kinds
from sagas.operations import holds
from sagas.operations.table_stats import COUNT_LIMIT
from sagas.storage.registry import get_home
from staff.models import LogCheck

__all__ = ["CapturedMoney", "UnsettledMoney", "unsettled_money", "unsettled_money_metrics"]

# The oldest open orders that are read, and how many of them one statement joins.
ORDERS = 20_000
CHUNK = 5_000

# By id, because ids rise with time. The inner limit bounds the sort.
OPEN = """
SELECT id, {on_hold} OR COALESCE(waits_until > now(), false)
  FROM (SELECT id, on_hold, waits_until FROM orders_order
         WHERE ended_at IS NULL ORDER BY on_hold, rescue_at LIMIT %(most)s) s
 ORDER BY id LIMIT %(orders)s
"""

# A captured payment was last updated when it was captured, unless money has moved since. Then the
# time of its creation counts, because the money must not look younger than it is.
CAPTURED = """
SELECT currency,
       sum(greatest(0, COALESCE(captured_amount, amount) - refunded_amount - disputed_amount)
          )::bigint,
       count(*),
       min(CASE WHEN refunded_amount = 0 AND dispute_status = '' THEN updated_at ELSE created_at END
          ) FILTER (WHERE order_id <> ALL(%(ageless)s::uuid[]))
  FROM payments_payment
 WHERE order_id = ANY(%(orders)s::uuid[]) AND status = 'captured' GROUP BY currency
"""


class CapturedMoney(NamedTuple):
    """Captured money of one currency: the amount in minor units, and the number of open orders.

    `since`: the oldest capture for an order that neither is on hold nor waits as agreed, if any.
    """

    amount: int
    orders: int
    since: datetime | None

    @property
    def seconds(self) -> float | None:
        """The age of `since`; None without one."""
        if self.since is None:
            return None
        return max(0.0, (timezone.now() - self.since).total_seconds())

    def add(self, other: "CapturedMoney") -> "CapturedMoney":
        """Return the sum of two amounts of the same currency."""
        since = min((money.since for money in (self, other) if money.since), default=None)
        return CapturedMoney(self.amount + other.amount, self.orders + other.orders, since)


class UnsettledMoney(NamedTuple):
    """Captured money of open orders. `complete`: all open orders were read, not the oldest only."""

    by_currency: dict[str, CapturedMoney]
    complete: bool


def unsettled_money() -> UnsettledMoney:
    """Add up the money captured for open orders. Reads the databases of orders and payments."""
    statement = OPEN.format(on_hold=holds.is_on_hold(get_home("orders")))
    orders = sql.fetch("default", statement, {"most": COUNT_LIMIT, "orders": ORDERS + 1})
    return UnsettledMoney(_captured_for(orders[:ORDERS]), complete=len(orders) <= ORDERS)


@section("reconciliation")
def reconciliation_metrics() -> Iterator[Metric]:
    """Yield when each gateway was last reconciled, and how far. Never is 0."""
    finished = "When the last scheduled reconciliation finished; 0 if never."
    compared = "Up to which time the gateway's statement is compared with our payments."
    for result in reconciliation.last_result().gateways:
        labels = {"gateway": result.gateway}
        yield gauge("reconciliation_last_run_timestamp_seconds", finished, **labels)(
            _timestamp(result.finished_at)
        )
        yield gauge("reconciliation_compared_until_timestamp_seconds", compared, **labels)(
            _timestamp(result.compared_until)
        )


@section("audit")
def audit_metrics() -> Iterator[Metric]:
    """Yield the result of the last scheduled audit, if one has finished. Never is 0."""
    result = scheduled.last_result()
    finished = "When the last scheduled audit finished; 0 if never."
    violations = "Violations of invariants that the scheduled audit has found and that still hold."
    yield gauge("audit_last_run_timestamp_seconds", finished)(_timestamp(result.finished_at))
    if result.finished_at:  # 0 before the first would say that none was found
        yield gauge("audit_violations", violations)(result.violations)
        of_kind = "Those of them that are of sagas of one kind."
        for kind in all_kinds():
            found = result.by_kind.get(kind.name, 0)
            labels = {"home": kind.home, "kind": kind.name}
            yield gauge("audit_saga_violations", of_kind, **labels)(found)


@section("log")
def log_metrics() -> Iterator[Metric]:
    """Yield the result of the last check of the log of staff. Never checked is 0."""
    last = LogCheck.objects.first()
    checked = "When the chain of the log of staff was last checked; 0 if never."
    intact = "1 if the log of staff is intact, 0 if an entry was changed, removed or inserted."
    yield gauge("audit_log_last_check_timestamp_seconds", checked)(
        _timestamp(last.checked_at if last else None)
    )
    if last:
        yield gauge("audit_log_intact", intact)(0 if last.fault else 1)


@section("money")
def unsettled_money_metrics() -> Iterator[Metric]:
    """Yield the unsettled money of each currency."""
    money = unsettled_money()
    complete = "1 if all open orders were read, 0 if only the oldest were."
    yield gauge("money_in_limbo_complete", complete)(money.complete)

    amount = "Captured for orders that have not ended, in minor units of the currency."
    orders = "Open orders with captured money."
    age = "Age of the oldest captured money of an order not on hold and not waiting as agreed."
    for currency, captured in money.by_currency.items():
        labels = {"currency": currency}
        yield gauge("money_in_limbo_minor_units", amount, **labels)(captured.amount)
        yield gauge("money_in_limbo_orders", orders, **labels)(captured.orders)
        if captured.seconds is not None:
            yield gauge("money_in_limbo_oldest_seconds", age, **labels)(captured.seconds)


def _timestamp(time: datetime | None) -> float:
    return time.timestamp() if time else 0.0


def _captured_for(orders: Sequence[tuple[UUID, bool]]) -> dict[str, CapturedMoney]:
    total: dict[str, CapturedMoney] = {}
    for start in range(0, len(orders), CHUNK):
        chunk = orders[start : start + CHUNK]
        params = {
            "orders": [order for order, _ in chunk],
            "ageless": [order for order, ageless in chunk if ageless],
        }
        for currency, *columns in sql.fetch("payments", CAPTURED, params):
            money = CapturedMoney(*columns)
            total[currency] = total[currency].add(money) if currency in total else money
    return total
