"""The timeline: every event of a saga, gathered at its home from all services, off the critical
path.

A picture for people and the pulse the rescue listens to. A write that fails or comes late delays
the picture, never the saga; one that comes twice changes nothing, for each event has its own id.
"""

from collections.abc import Sequence

from django.conf import settings
from django.db import transaction

from sagas.definition.events import NEEDS_ATTENTION, ON_HOLD
from sagas.definition.messages import TimelineEntry, to_json
from sagas.storage import sql
from sagas.storage.registry import Home

__all__ = ["begin", "record"]

# What a saga begins with is told by the statement that writes it, as `written`. It is at home, and
# there is nothing yet to put in order with it.
BEGIN = """
WITH {expressions}
INSERT INTO {timeline} (id, saga, seq, type, service, step, attempt, at, recorded_at, detail)
SELECT id, saga, seq, type, %(home)s, step, step_attempt, created_at, created_at, data FROM written
"""

LOCK = "SELECT id FROM {tracked} WHERE id = ANY(%(sagas)s::uuid[]) ORDER BY id FOR NO KEY UPDATE"

# The tracked rows are locked by a statement before this one: of one saga, one transaction records
# after the other. So whoever reads in the order of (recorded_at, seq, id) and goes on after an
# event misses none. The clock alone would not do: it may be set back.
INSERT = """
INSERT INTO {timeline} (id, saga, seq, type, service, step, attempt, at, recorded_at, detail)
SELECT e.id, e.saga, e.seq, e.type, e.service, e.step, e.attempt, e.at,
       GREATEST(statement_timestamp(),
                (SELECT max(t.recorded_at) FROM {timeline} t WHERE t.saga = e.saga) + interval '1 microsecond'),
       e.detail
  FROM jsonb_to_recordset(%(entries)s::jsonb)
    AS e(id uuid, saga uuid, seq int, type text, service text, step text, attempt int, at timestamptz, detail jsonb)
 ORDER BY e.id
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

# A sign of life: the count of re-drives starts anew, and so does the time until the next. That a
# saga waits on hold says nothing of what it needs a person for. A sign that closely follows another
# tells nothing new, and is not written: it would be one more version of the row, in all its
# indexes.
ALIVE = """
UPDATE {tracked} s
   SET redrives = 0, rescue_at = clock_timestamp() + make_interval(secs => %(stall)s),
       needs_attention = (v.attention OR v.on_hold <> '' AND s.needs_attention) AND NOT v.ends AND s.ended_at IS NULL,
       on_hold = v.on_hold,
       ended_at = COALESCE(s.ended_at, CASE WHEN v.ends THEN clock_timestamp() END)
  FROM unnest(%(sagas)s::uuid[], %(attention)s::bool[], %(ends)s::bool[], %(on_hold)s::text[])
    AS v(id, attention, ends, on_hold)
 WHERE s.id = v.id
   AND (v.ends OR v.attention OR s.needs_attention OR s.redrives > 0 OR s.on_hold <> v.on_hold
        OR s.rescue_at < clock_timestamp() + make_interval(secs => %(stall)s * {close}))
"""
# As a part of SAGA_STALL_SECONDS: so much sooner may a saga count as stalled.
CLOSE = 0.1


def begin(
    home: Home, with_rows: sql.CommonTableExpressions, written: sql.CommonTableExpressions
) -> None:
    """Tell of the event a saga begins with, in the caller's transaction, by the statement that
    writes its row.

    with_rows writes the tracked row, with all that a sign of life would set in it; `written`, the
    row of the outbox.
    """
    statement = BEGIN.format(
        expressions=f"{with_rows.sql}, {written.sql}", timeline=home.timeline._meta.db_table
    )
    sql.run(home.alias, statement, {**with_rows.params, **written.params, "home": home.name})


def record(home: Home, entries: Sequence[TimelineEntry]) -> int:
    """Record events in one transaction, and let the domain follow; return how many were new."""
    with transaction.atomic(using=home.alias):
        _lock(home, entries)
        new = _insert(home, entries)
        if new:
            _mark_alive(home, new)
            home.tracked.apply_events(new)
    return len(new)


def _lock(home: Home, entries: Sequence[TimelineEntry]) -> None:
    params = {"sagas": sql.array_literal({entry.saga for entry in entries})}
    sql.fetch(home.alias, LOCK.format(tracked=home.tracked._meta.db_table), params)


def _insert(home: Home, entries: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    statement = INSERT.format(timeline=home.timeline._meta.db_table)
    inserted = sql.fetch(home.alias, statement, {"entries": to_json(entries)})
    new = {row[0] for row in inserted}
    return sorted(
        (entry for entry in entries if entry.id in new),
        key=lambda entry: (entry.seq, str(entry.at)),
    )


def _mark_alive(home: Home, entries: Sequence[TimelineEntry]) -> None:
    latest = {entry.saga: entry for entry in entries}
    ends = {entry.saga for entry in entries if entry.ends}
    params = {
        "stall": settings.SAGA_STALL_SECONDS,
        "sagas": sql.array_literal(latest),
        "attention": sql.array_literal(entry.type == NEEDS_ATTENTION for entry in latest.values()),
        "ends": sql.array_literal(saga in ends for saga in latest),
        "on_hold": [entry.step if entry.type == ON_HOLD else "" for entry in latest.values()],
    }
    sql.run(home.alias, ALIVE.format(tracked=home.tracked._meta.db_table, close=1 - CLOSE), params)
