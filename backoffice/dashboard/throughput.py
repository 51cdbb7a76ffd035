"""How many orders end over time, and how long they take.

Read from the newest few thousand orders, so the cost does not grow with the table.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from console.dashboard.buckets import BUCKETS, NEWEST, WIDTHS
from sagas import sql

__all__ = ["Bucket", "Throughput", "throughput"]

SPAN = """
SELECT extract(epoch FROM min(created_at))::float8, extract(epoch FROM clock_timestamp())::float8
  FROM (SELECT created_at FROM orders_order ORDER BY id DESC LIMIT %(newest)s) newest
"""

ENDED = """
SELECT floor(extract(epoch FROM ended_at) / %(width)s)::bigint AS bucket,
       count(*) FILTER (WHERE status = 'fulfilled'), count(*) FILTER (WHERE status = 'cancelled'),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY took)::float8,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY took)::float8
  FROM (SELECT ended_at, status, extract(epoch FROM ended_at - created_at) AS took
          FROM (SELECT ended_at, created_at, status FROM orders_order
                 ORDER BY id DESC LIMIT %(newest)s) newest
         WHERE ended_at >= to_timestamp(%(since)s)) ended
 GROUP BY 1
"""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """The orders that ended in one bucket of time. `p50` and `p95` are durations in seconds."""

    since: datetime
    fulfilled: int = 0
    cancelled: int = 0
    p50: float | None = None
    p95: float | None = None

    @property
    def ended(self) -> int:
        """Return how many orders ended."""
        return self.fulfilled + self.cancelled


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Buckets of one width, oldest first. The last one is not over yet."""

    width: timedelta
    buckets: tuple[Bucket, ...]


def throughput() -> Throughput:
    """Return when the newest orders ended, and how long they took."""
    [(first, now)] = sql.fetch("default", SPAN, {"newest": NEWEST})
    width = _width(now - (first or now))
    last = int(now // width)
    since = last - BUCKETS + 1

    params = {"newest": NEWEST, "width": width, "since": since * width}
    found = {bucket: rest for bucket, *rest in sql.fetch("default", ENDED, params)}

    buckets = tuple(_bucket(number * width, found.get(number)) for number in range(since, last + 1))
    return Throughput(width=timedelta(seconds=width), buckets=buckets)


def _width(span: float) -> int:
    return next((width for width in WIDTHS if span <= width * (BUCKETS - 1)), WIDTHS[-1])


def _bucket(since: int, found: list[float] | None) -> Bucket:
    at = datetime.fromtimestamp(since, UTC)
    if found is None:
        return Bucket(since=at)
    fulfilled, cancelled, p50, p95 = found
    return Bucket(since=at, fulfilled=int(fulfilled), cancelled=int(cancelled), p50=p50, p95=p95)
