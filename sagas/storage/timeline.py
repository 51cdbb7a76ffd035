"""The timeline: the events of a saga from all services, recorded at the saga's home.

The timeline is off the critical path: people read it, and redrive learns from it that a saga moves.
A late or failed write delays that, but never the saga. A repeated write changes nothing, because
each event has its own id.
"""

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.db import transaction

from sagas.definition.events import NEEDS_ATTENTION, ON_HOLD, WAITS_UNTIL, is_notice
from sagas.definition.messages import TimelineEntry, to_json
from sagas.storage import sql
from sagas.storage.registry import Home

__all__ = ["record", "record_start", "start_cte"]

# Record the first event
# The expression `written` has just inserted its outbox row. The saga has no other event yet, so
# there is no order to keep.
RECORD_START = """
WITH {expressions}
INSERT INTO {timeline} (id, saga, seq, type, service, step, attempt, at, recorded_at, detail)
SELECT id, saga, seq, type, %(home)s, step, step_attempt, created_at, created_at, data FROM written
"""

# Start the stall clock
# The saga counts as stalled if no other event is recorded in time.
START_CLOCK = "started AS (UPDATE {tracked} SET rescue_at = {stalled_at} WHERE id = %(tracked)s)"

# Lock the tracked rows
# Transactions that record events of one saga run one after the other.
LOCK = "SELECT id FROM {tracked} WHERE id = ANY(%(sagas)s::uuid[]) ORDER BY id FOR NO KEY UPDATE"

# Record events
# Each event is recorded later than all earlier ones of its saga. So a reader that orders by
# (recorded_at, seq, id) and continues after an event misses none. The clock alone does not ensure
# that, because it may be set back. LOCK runs before, in its own statement, so that max() sees the
# events of the transaction that held the lock.
INSERT = """
INSERT INTO {timeline} (id, saga, seq, type, service, step, attempt, at, recorded_at, detail)
SELECT e.id, e.saga, e.seq, e.type, e.service, e.step, e.attempt, e.at,
       GREATEST(statement_timestamp(),
                (SELECT max(t.recorded_at) FROM {timeline} t WHERE t.saga = e.saga)
                + interval '1 microsecond'),
       e.detail
  FROM jsonb_to_recordset(%(entries)s::jsonb)
    AS e(id uuid, saga uuid, seq int, type text, service text, step text, attempt int,
         at timestamptz, detail jsonb)
 ORDER BY e.id
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

# Record progress
# A new event shows that its saga moves, unless it is a notice that only informs. `v` has the latest
# other new event of each saga: whether it asks for attention, and the step of an "on hold" event.
# `ends` says whether any of them ends the saga.
#
#   redrives         starts at 0 again
#   rescue_at        SAGA_STALL_SECONDS from now
#   waits_until      the end of an agreed wait, from a `WaitNotice`; any other event clears it, but
#                    no notice that only informs. The saga has stalled SAGA_STALL_SECONDS after that
#                    end.
#   on_hold          the step that waits; any other event clears it
#   needs_attention  set and cleared by the latest event. An "on hold" event leaves it as it is,
#                    because waiting does not repair a fault. A saga that has ended never has it.
#   ended_at         the time at which the end was recorded first
#
# The last condition skips a row where only rescue_at would change, and by less than a tenth. Each
# update writes a new version of the row, into all indexes. The price: a saga may count as stalled
# up to a tenth of SAGA_STALL_SECONDS too early.
RECORD_PROGRESS = """
UPDATE {tracked} s
   SET redrives = 0,
       rescue_at = {stalled_at} + GREATEST(v.waits_until - clock_timestamp(), interval '0'),
       waits_until = v.waits_until,
       on_hold = v.on_hold,
       needs_attention = CASE WHEN v.ends OR s.ended_at IS NOT NULL THEN false
                              WHEN v.on_hold <> '' THEN s.needs_attention
                              ELSE v.needs_attention END,
       ended_at = CASE WHEN v.ends THEN COALESCE(s.ended_at, clock_timestamp())
                       ELSE s.ended_at END
  FROM unnest(%(sagas)s::uuid[], %(needs_attention)s::bool[], %(ends)s::bool[], %(on_hold)s::text[],
              %(waits_until)s::timestamptz[])
    AS v(id, needs_attention, ends, on_hold, waits_until)
 WHERE s.id = v.id
   AND (v.ends OR v.needs_attention OR s.needs_attention OR s.redrives > 0
        OR s.on_hold <> v.on_hold OR s.waits_until IS DISTINCT FROM v.waits_until
        OR s.rescue_at < {nearly_stalled_at})
"""

# The share of SAGA_STALL_SECONDS by which rescue_at must change before it is worth an update.
SMALLEST_CHANGE = 0.1


def start_cte(home: Home, saga: UUID) -> sql.CommonTableExpressions:
    """Return an expression that starts the stall clock of a saga whose tracked row exists."""
    statement = START_CLOCK.format(
        tracked=home.tracked._meta.db_table, stalled_at=sql.seconds_from_now("%(stall)s")
    )
    params = {"tracked": saga, "stall": settings.SAGA_STALL_SECONDS}

    return sql.CommonTableExpressions(statement, params)


def record_start(
    home: Home, tracked: sql.CommonTableExpressions, written: sql.CommonTableExpressions
) -> None:
    """Record the first event of a saga, in the caller's transaction.

    One statement does all of it: `tracked` writes the tracked row, and `written` inserts the outbox
    row. `TrackedSaga.apply_events` is not called, because the caller has just written that row.
    """
    statement = RECORD_START.format(
        expressions=f"{tracked.sql}, {written.sql}", timeline=home.timeline._meta.db_table
    )
    params = {**tracked.params, **written.params, "home": home.name}
    sql.run(home.alias, statement, params)


def record(home: Home, entries: Sequence[TimelineEntry]) -> int:
    """Record events in one transaction and apply new ones to the domain; return how many were new.

    An event that was recorded before changes nothing.
    """
    with transaction.atomic(using=home.alias):
        _lock(home, entries)
        new = _insert(home, entries)
        if moving := [entry for entry in new if not _only_informs(entry)]:
            _record_progress(home, moving)
        if new:
            home.tracked.apply_events(new)

    return len(new)


def _lock(home: Home, entries: Sequence[TimelineEntry]) -> None:
    statement = LOCK.format(tracked=home.tracked._meta.db_table)
    params = {"sagas": sql.array_literal({entry.saga for entry in entries})}
    sql.fetch(home.alias, statement, params)


def _insert(home: Home, entries: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """Insert the entries; return the new ones, oldest first."""
    statement = INSERT.format(timeline=home.timeline._meta.db_table)
    rows = sql.fetch(home.alias, statement, {"entries": to_json(entries)})
    inserted = {entry_id for (entry_id,) in rows}

    new = [entry for entry in entries if entry.id in inserted]
    return sorted(new, key=lambda entry: (entry.seq, str(entry.at)))


def _only_informs(entry: TimelineEntry) -> bool:
    """Return whether an entry is a notice that says nothing about the progress of its saga."""
    says_progress = entry.type in {NEEDS_ATTENTION, ON_HOLD} or WAITS_UNTIL in entry.detail
    return is_notice(entry.type) and not says_progress


def _record_progress(home: Home, entries: Sequence[TimelineEntry]) -> None:
    """Write what new entries, oldest first, say about their sagas to the tracked rows."""
    latest = {entry.saga: entry for entry in entries}
    ending = {entry.saga for entry in entries if entry.ends}

    needs_attention = [entry.type == NEEDS_ATTENTION for entry in latest.values()]
    on_hold = [entry.step if entry.type == ON_HOLD else "" for entry in latest.values()]
    waits_until = [entry.detail.get(WAITS_UNTIL) for entry in latest.values()]

    statement = RECORD_PROGRESS.format(
        tracked=home.tracked._meta.db_table,
        stalled_at=sql.seconds_from_now("%(stall)s"),
        nearly_stalled_at=sql.seconds_from_now(f"%(stall)s * {1 - SMALLEST_CHANGE}"),
    )
    params = {
        "stall": settings.SAGA_STALL_SECONDS,
        "sagas": sql.array_literal(latest),
        "needs_attention": sql.array_literal(needs_attention),
        "ends": sql.array_literal(saga in ending for saga in latest),
        "on_hold": on_hold,
        "waits_until": waits_until,
    }
    sql.run(home.alias, statement, params)
