"""The section of orders in `/metrics`. Every query uses an index."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from api.monitoring.sections import gauge, section
from orders.status import Status
from sagas import sql
from sagas.queries import COUNT_LIMIT

__all__ = ["count_needing_attention", "count_open_by_status", "estimate_by_status", "orders"]

OPEN = """
SELECT status, count(*)
  FROM (SELECT status FROM orders_order WHERE ended_at IS NULL
         ORDER BY on_hold, rescue_at LIMIT %(most)s) open
 GROUP BY status
"""

ATTENTION = """
SELECT count(*)
  FROM (SELECT 1 FROM orders_order WHERE needs_attention ORDER BY id LIMIT %(most)s) needing
"""

# Counting millions of rows takes seconds, so the total is estimated from PostgreSQL's last ANALYZE.
ESTIMATE = """
SELECT known.status, c.reltuples * known.share
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = 'status',
  unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS known(status, share)
 WHERE c.oid = 'orders_order'::regclass AND c.reltuples > 0
"""


def count_open_by_status() -> dict[str, int]:
    """Count the orders whose saga has not ended, by status, without zeros."""
    return dict(sql.fetch("default", OPEN, {"most": COUNT_LIMIT}))


def count_needing_attention() -> int:
    """Count the orders that need attention."""
    [(needing,)] = sql.fetch("default", ATTENTION, {"most": COUNT_LIMIT})
    return int(needing)


def estimate_by_status() -> dict[str, int]:
    """Estimate the total orders by status; empty until PostgreSQL has analysed the table."""
    return {status: round(share) for status, share in sql.fetch("default", ESTIMATE, {})}


@section("orders")
def orders() -> Iterator[Metric]:
    """Collect the gauges of orders."""
    found = count_open_by_status()
    for status in Status:
        yield gauge("orders_open", "Orders whose saga has not ended.", status=status.value)(
            found.get(status, 0)
        )
    yield gauge("orders_needing_attention", "Orders that an operator must look at.")(
        count_needing_attention()
    )
    for name, share in estimate_by_status().items():
        yield gauge(
            "orders_estimated", "Total orders, estimated by PostgreSQL's last ANALYZE.", status=name
        )(share)
