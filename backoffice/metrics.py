"""The section of the console in `/metrics`: runs that wait for a second person."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from api.monitoring.sections import gauge, section
from sagas import sql

__all__ = ["console"]

# The partial index of open runs keeps this cheap.
AWAITING = """
SELECT count(*), COALESCE(extract(epoch FROM statement_timestamp() - min(confirmed_at)), 0)
  FROM console_run WHERE state = 'awaiting'
"""


@section("console")
def console() -> Iterator[Metric]:
    """Collect the number of runs that wait for a second person, and the age of the oldest."""
    [(waiting, oldest)] = sql.fetch("default", AWAITING, {})
    yield gauge("console_runs_awaiting_approval", "Runs that wait for a second person.")(waiting)
    yield gauge(
        "console_runs_awaiting_approval_oldest_seconds",
        "Time for which the oldest of them has waited; 0 if none waits.",
    )(float(oldest))
