"""Counts of the rows in the engine's tables, for metrics and the console.

Every statement uses an index and reads at most `COUNT_LIMIT` rows.
"""

from collections.abc import Collection
from typing import NamedTuple

from sagas import sql
from sagas.operations import holds
from sagas.storage import faults, signals
from sagas.storage.registry import Home, Service

__all__ = [
    "COUNT_LIMIT",
    "MOST_NAMED",
    "FaultStats",
    "HoldStats",
    "InboxStats",
    "OutboxStats",
    "SagaStats",
    "count_in_words",
    "fault_stats",
    "hold_stats",
    "inbox_stats",
    "kind_stats",
    "outbox_stats",
    "saga_stats",
    "total",
]

# A quarter of a second of work. A count that equals the limit is a lower bound.
COUNT_LIMIT = 100_000

# The most outside systems of a step that are named. Each of them is a series of its own.
MOST_NAMED = 20

# The age is that of created_at, because a row that the broker refuses becomes due again and again.
OUTBOX = """
SELECT count(*) FILTER (WHERE due_at <= now()),
       count(*) FILTER (WHERE due_at > now() AND NOT parked),
       COALESCE(extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE NOT parked)),
                0)::float8,
       count(*) FILTER (WHERE parked)
  FROM (SELECT due_at, created_at, due_at >= timestamptz '9999-01-01' AS parked FROM {outbox}
         WHERE published_at IS NULL ORDER BY due_at LIMIT %(most)s) unpublished
"""

# A first attempt is as old as its claim: the row may have waited as agreed before, which sets its
# attempts to 0.
# A signal that came before the message of its wait is no open step: its row has no message yet.
# Held rows have no send_at, and another index has them by their state.
INBOX = """
SELECT step, CASE WHEN send_at IS NULL THEN 'parked'
                  WHEN state = 'waiting' AND attempts = 0 THEN 'agreed' ELSE state END, count(*),
       extract(epoch FROM clock_timestamp()
               - min(CASE WHEN state = 'started' AND attempts <= 1 THEN updated_at
                          ELSE created_at END))::float8
  FROM (SELECT step, state, send_at, attempts, created_at, updated_at FROM {inbox} i
         WHERE state IN ('started', 'waiting') AND NOT ({early})
         ORDER BY send_at LIMIT %(most)s) open
 GROUP BY 1, 2
 UNION ALL
SELECT step, 'held', count(*), extract(epoch FROM clock_timestamp() - min(updated_at))::float8
  FROM (SELECT step, updated_at FROM {inbox}
         WHERE state = 'held' ORDER BY step, id LIMIT %(most)s) held
 GROUP BY 1
""".replace("{early}", signals.EARLY)

# The holds of a step's destinations are counted, and only the oldest are named.
HOLDS = """
SELECT step, number, seconds, automatic, destination
  FROM (SELECT COALESCE(step, calling_step) AS step, automatic, destination,
               extract(epoch FROM clock_timestamp() - since)::float8 AS seconds,
               count(*) OVER alike AS number,
               row_number() OVER (alike ORDER BY since, id) AS place
          FROM {hold}
         WHERE saga IS NOT NULL OR split_part(COALESCE(step, calling_step), '.', 1) = %(service)s
        WINDOW alike AS (PARTITION BY COALESCE(step, calling_step), destination <> '', automatic)
       ) h
 WHERE place <= CASE WHEN step IS NULL THEN 1 ELSE %(named)s END
"""

# A step or destination on hold is left out. The destinations of a step that fails are counted, and
# only those with the most sagas are named. A saga that failed at several destinations is one of the
# step.
FAULTS = """
WITH found AS MATERIALIZED (
  SELECT step, destination, saga FROM {fault} f
   WHERE shared AND last_at > clock_timestamp() - make_interval(secs => %(episode)s)
     AND NOT EXISTS (SELECT 1 FROM {hold} h
                      WHERE f.step IN (h.step, h.calling_step)
                        AND h.destination IN ('', f.destination))
)
SELECT f.step, f.destination, f.sagas, f.number, s.sagas
  FROM (SELECT step, destination, count(DISTINCT saga) AS sagas,
               count(*) OVER alike AS number,
               row_number() OVER (alike ORDER BY count(DISTINCT saga) DESC, destination) AS place
          FROM found GROUP BY step, destination
        WINDOW alike AS (PARTITION BY step, destination <> '')) f
  JOIN (SELECT step, count(DISTINCT saga) AS sagas FROM found GROUP BY step) s USING (step)
 WHERE f.place <= %(named)s
"""

SAGAS = """
SELECT '{tracked}', count(*), count(*) FILTER (WHERE rescue_at <= now() AND NOT on_hold),
       count(*) FILTER (WHERE redrives > 0),
       COALESCE(extract(epoch FROM clock_timestamp()
                                   - min(created_at) FILTER (WHERE NOT on_hold AND NOT waits)),
                0)::float8,
       count(*) FILTER (WHERE on_hold), count(*) FILTER (WHERE needs_attention)
  FROM (SELECT rescue_at, redrives, created_at, needs_attention, {on_hold} AS on_hold,
               COALESCE(waits_until > now(), false) AS waits
          FROM {tracked} s
         WHERE ended_at IS NULL ORDER BY on_hold, rescue_at LIMIT %(most)s) open
"""


class OutboxStats(NamedTuple):
    """The unpublished rows of a service. `oldest_seconds`: age of the oldest; 0 without one.

    `parked` rows are unreadable, and are not sent. `oldest_seconds` ignores them.
    """

    due: int
    leased: int
    oldest_seconds: float
    parked: int


class InboxStats(NamedTuple):
    """The open rows of one step in one state: `started`, `waiting`, `agreed`, `parked` or `held`.

    `agreed` rows wait for a person or another system, as the step said, after no failed attempt.
    `parked` rows are not sent again: their saga was purged, or their message is unreadable.
    """

    step: str
    state: str
    rows: int
    oldest_seconds: float


class HoldStats(NamedTuple):
    """A hold of a step; or the holds of `number` sagas if `step` is None.

    `automatic`: the engine placed the hold on the step, and releases it. `destination`: only the
    calls of the step to it are on hold; empty for the whole step. Then `number` is the number of
    destinations of the step with such a hold, of which the oldest `MOST_NAMED` are named.
    """

    step: str | None
    number: int
    oldest_seconds: float
    automatic: bool = False
    destination: str = ""


class FaultStats(NamedTuple):
    """A step that failed for `sagas` lately by no fault of their own, and is not on hold.

    `destination`: the outside system at fault, or empty. `number`: how many outside systems of the
    step are at fault, of which the `MOST_NAMED` with the most sagas are named. `of_step`: the
    sagas for which the step failed so, at any of them. Of each error at a destination at most
    `faults.KEPT_OF_ERROR` are known, and of each step `faults.KEPT_OF_STEP`.
    """

    step: str
    destination: str
    sagas: int
    number: int
    of_step: int


class SagaStats(NamedTuple):
    """The open sagas of a home, or of one kind.

    `stalled` are due for a re-drive. `redriven` were re-driven since their last progress. Sagas on
    hold are in `open` and `on_hold`, but not in `stalled`. `oldest_seconds` ignores them, and sagas
    that wait as agreed.
    """

    open: int
    stalled: int
    redriven: int
    oldest_seconds: float
    on_hold: int
    needing_attention: int = 0


def count_in_words(count: int) -> str:
    """Return a count of rows as text. A count that equals `COUNT_LIMIT` is a lower bound."""
    return f"at least {count}" if count >= COUNT_LIMIT else str(count)


def outbox_stats(service: Service) -> OutboxStats:
    """Count the unpublished rows of a service's outbox."""
    statement = OUTBOX.format(outbox=service.outbox)
    [row] = sql.fetch(service.alias, statement, {"most": COUNT_LIMIT})
    return OutboxStats(*row)


def inbox_stats(service: Service) -> list[InboxStats]:
    """Count the open rows of a service's inbox, by step and state."""
    statement = INBOX.format(inbox=service.inbox)
    rows = sql.fetch(service.alias, statement, {"most": COUNT_LIMIT})
    return [InboxStats(*row) for row in rows]


def hold_stats(service: Service) -> list[HoldStats]:
    """Count the holds in a service."""
    params = {"service": service.name, "named": MOST_NAMED}
    rows = sql.fetch(service.alias, HOLDS.format(hold=service.hold), params)
    return [HoldStats(*row) for row in rows]


def fault_stats(service: Service) -> list[FaultStats]:
    """Count the sagas for which a step failed lately by no fault of their own."""
    statement = FAULTS.format(fault=service.fault, hold=service.hold)
    params = {"episode": faults.EPISODE_SECONDS, "named": MOST_NAMED}
    return [FaultStats(*row) for row in sql.fetch(service.alias, statement, params)]


def saga_stats(home: Home) -> SagaStats:
    """Count the open sagas of a home."""
    return total(kind_stats(home).values())


def total(kinds: Collection[SagaStats]) -> SagaStats:
    """Add up the counts of all kinds of a home. It has one at least."""
    return SagaStats(
        open=sum(kind.open for kind in kinds),
        stalled=sum(kind.stalled for kind in kinds),
        redriven=sum(kind.redriven for kind in kinds),
        oldest_seconds=max(kind.oldest_seconds for kind in kinds),
        on_hold=sum(kind.on_hold for kind in kinds),
        needing_attention=sum(kind.needing_attention for kind in kinds),
    )


def kind_stats(home: Home) -> dict[str, SagaStats]:
    """Count the open sagas of a home by the table that tracks them, in one statement."""
    on_hold = holds.is_on_hold(home)
    statement = " UNION ALL ".join(
        f"({SAGAS.format(tracked=table, on_hold=on_hold)})" for table in home.tables
    )
    rows = sql.fetch(home.alias, statement, {"most": COUNT_LIMIT})
    return {table: SagaStats(*columns) for table, *columns in rows}
