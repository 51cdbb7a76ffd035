"""What the engine's tables say of its state at this moment, for metrics. Every statement goes by
an index, bounded.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sagas.operations import holds
from sagas.storage import sql
from sagas.storage.registry import Home, Service

__all__ = [
    "MOST",
    "Holds",
    "InboxRows",
    "OutboxRows",
    "Sagas",
    "holds_of",
    "inbox_rows",
    "outbox_rows",
    "sagas_of",
]

# No more rows than this are looked at: a count that stands here is at least as much. A quarter of a
# second of work.
MOST = 100_000

# The age is by created_at: a broker that fails gives rows back as due anew, again and again.
OUTBOX = """
SELECT count(*) FILTER (WHERE due_at <= now()), count(*) FILTER (WHERE due_at > now()),
       COALESCE(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
  FROM (SELECT due_at, created_at FROM {outbox} WHERE published_at IS NULL ORDER BY due_at LIMIT %(most)s) unpublished
"""

INBOX = """
SELECT step, CASE WHEN send_at IS NULL THEN 'parked' ELSE state END, count(*),
       extract(epoch FROM clock_timestamp() - min(created_at))::float8
  FROM (SELECT step, state, send_at, created_at FROM {inbox} WHERE state IN ('started', 'waiting')
         ORDER BY send_at LIMIT %(most)s) open
 GROUP BY 1, 2
"""

# Held rows have no time to be sent; the index finds them by their state.
HELD = """
SELECT step, 'held', count(*), extract(epoch FROM clock_timestamp() - min(updated_at))::float8
  FROM (SELECT step, updated_at FROM {inbox} WHERE state = 'held' ORDER BY step, id LIMIT %(most)s) held
 GROUP BY 1
"""

HOLDS = """
SELECT step, count(*), extract(epoch FROM clock_timestamp() - min(since))::float8
  FROM {hold} WHERE step IS NULL OR split_part(step, '.', 1) = %(service)s GROUP BY step
"""

SAGAS = """
SELECT count(*), count(*) FILTER (WHERE rescue_at <= now() AND NOT on_hold), count(*) FILTER (WHERE redrives > 0),
       COALESCE(extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE NOT on_hold)), 0)::float8,
       count(*) FILTER (WHERE on_hold)
  FROM (SELECT rescue_at, redrives, created_at, {on_hold} AS on_hold FROM {tracked} s WHERE ended_at IS NULL
         ORDER BY rescue_at LIMIT %(most)s) open
"""


class OutboxRows(NamedTuple):
    """What a service has not published yet. Seconds since the oldest row was written; 0 where
    there is none.
    """

    due: int
    leased: int
    oldest_seconds: float


class InboxRows(NamedTuple):
    """The open rows of one step in one state (`started`, `waiting`, `parked` or `held`), and the
    age of the oldest.
    """

    step: str
    state: str
    rows: int
    oldest_seconds: float


class Holds(NamedTuple):
    """What is on hold in a service: a step of all sagas or, without one, so many sagas; and
    since when the first is.
    """

    step: str | None
    number: int
    oldest_seconds: float


class Sagas(NamedTuple):
    """The sagas of a home that have not ended: all, those due for a re-drive, those re-driven since
    they last moved.

    Those on hold are counted by themselves: they are not due, and the oldest is not one of them.
    """

    open: int
    stalled: int
    redriven: int
    oldest_seconds: float
    on_hold: int


def outbox_rows(service: Service) -> OutboxRows:
    """Count what a service has not published."""
    [row] = sql.fetch(service.alias, OUTBOX.format(outbox=service.outbox), {"most": MOST})
    return OutboxRows(*row)


def inbox_rows(service: Service) -> Iterator[InboxRows]:
    """Count the steps that a service has begun and not finished."""
    for statement in (INBOX, HELD):
        rows = sql.fetch(service.alias, statement.format(inbox=service.inbox), {"most": MOST})
        yield from (InboxRows(*row) for row in rows)


def holds_of(service: Service) -> list[Holds]:
    """Count what is on hold in a service."""
    rows = sql.fetch(service.alias, HOLDS.format(hold=service.hold), {"service": service.name})
    return [Holds(*row) for row in rows]


def sagas_of(home: Home) -> Sagas:
    """Count the sagas of a home that have not ended."""
    statement = SAGAS.format(tracked=home.tracked._meta.db_table, on_hold=holds.is_on_hold(home))
    [row] = sql.fetch(home.alias, statement, {"most": MOST})
    return Sagas(*row)
