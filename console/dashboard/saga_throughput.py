"""How many sagas of each kind start and end over time.

Read from the newest few thousand sagas of a kind, so the cost does not grow with the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils import timezone

from console.dashboard.buckets import BUCKETS, NEWEST, WIDTHS
from console.dashboard.charts import Chart, starts_and_ends_chart
from sagas import sql
from sagas.kinds import SagaKind
from sagas.storage.registry import get_home

__all__ = ["KindChart", "charts_of_home"]

# The buckets of one kind, of the narrowest width with which `BUCKETS` span its newest sagas.
STARTED_AND_ENDED = """
(WITH newest AS MATERIALIZED (
   SELECT extract(epoch FROM created_at) AS started, extract(epoch FROM ended_at) AS ended
     FROM {tracked} ORDER BY {key} DESC LIMIT %(newest)s
 ), span AS (
   SELECT extract(epoch FROM clock_timestamp()) AS now, min(started) AS first FROM newest
 ), chosen AS (
   SELECT now, coalesce((SELECT min(width) FROM unnest(%(widths)s::int[]) width
                          WHERE now - first <= width * (%(buckets)s - 1)), %(widest)s) AS width
     FROM span
 )
 SELECT {number}, width, bucket, sum(starts)::int, sum(ends)::int
   FROM chosen, LATERAL (
     SELECT floor(started / width)::bigint AS bucket, 1 AS starts, 0 AS ends FROM newest
      UNION ALL
     SELECT floor(ended / width)::bigint, 0, 1 FROM newest WHERE ended IS NOT NULL
   ) moments
  WHERE bucket > floor(now / width) - %(buckets)s
  GROUP BY width, bucket)
"""


@dataclass(frozen=True, kw_only=True)
class KindChart:
    """The chart of one kind."""

    kind: SagaKind
    chart: Chart


def charts_of_home(home: str, kinds: Sequence[SagaKind]) -> list[KindChart]:
    """Return the charts of some kinds of a home. One statement reads them all."""
    statement = " UNION ALL ".join(
        STARTED_AND_ENDED.format(tracked=kind.table, key=kind.key, number=number)
        for number, kind in enumerate(kinds)
    )
    params = {
        "newest": NEWEST,
        "buckets": BUCKETS,
        "widths": list(WIDTHS),
        "widest": WIDTHS[-1],
    }
    found: dict[int, dict[int, tuple[int, int]]] = {}
    widths: dict[int, int] = {}
    for number, width, bucket, started, ended in sql.fetch(get_home(home).alias, statement, params):
        widths[number] = width
        found.setdefault(number, {})[bucket] = (started, ended)
    return [
        KindChart(kind=kind, chart=_chart(kind, widths.get(number, WIDTHS[0]), found.get(number)))
        for number, kind in enumerate(kinds)
    ]


def _chart(kind: SagaKind, width: int, found: dict[int, tuple[int, int]] | None) -> Chart:
    last = int(timezone.now().timestamp() // width)
    numbers = range(last - BUCKETS + 1, last + 1)
    counts = [(found or {}).get(number, (0, 0)) for number in numbers]
    return starts_and_ends_chart(
        kind.plural,
        times=[datetime.fromtimestamp(number * width, UTC) for number in numbers],
        started=[started for started, _ in counts],
        ended=[ended for _, ended in counts],
    )
