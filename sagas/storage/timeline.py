"""The timeline: the events of a saga from all services, recorded at the saga's home.

The timeline is off the critical path: people read it, and redrive learns from it that a saga moves.
A late or failed write delays that, but never the saga. A repeated write changes nothing, because
each event has its own id.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import DatabaseError, transaction

from sagas import sql
from sagas.conf import settings
from sagas.definition.events import NEEDS_ATTENTION, ON_HOLD, WAITS_UNTIL
from sagas.definition.messages import TimelineEntry, to_json
from sagas.storage import group_reports
from sagas.storage.children import EndedSaga, note_ends
from sagas.storage.registry import Home

__all__ = [
    "SagasLocked",
    "end_wait",
    "first_detail",
    "record",
    "record_start",
    "start_cte",
    "types_by_step",
]

logger = logging.getLogger(__name__)

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
LOCK_FREE = f"{LOCK} SKIP LOCKED"

# A saga that is not locked and has a tracked row is locked by another transaction.
EXISTING = "SELECT id FROM {tracked} WHERE id = ANY(%(sagas)s::uuid[])"

# Milliseconds for which a transaction waits for the tracked rows that another one has locked.
LOCK_WAIT_MS = 250

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
#   redrives         starts at 0 again, and so do early_redrives
#   rescue_at        SAGA_STALL_SECONDS from now
#   waits_until      the end of an agreed wait, from a `WaitNotice`; any other event clears it, but
#                    no notice that only informs. The saga has stalled SAGA_STALL_SECONDS after that
#                    end.
#   on_hold          the step that waits; any other event clears it
#   needs_attention  set and cleared by the latest event. An "on hold" event leaves it as it is,
#                    because waiting does not repair a fault. A saga that has ended never has it.
#   ended_at         the time at which the end was recorded first
#
# An event may be recorded after a later one, because they travel in different messages. Such a late
# event is progress too. But it leaves the hold, the wait or the need for attention that the later
# event has reported. Otherwise a saga at a hold would be re-driven until it needs attention. For an
# event of a parallel branch, `v` has what the last events of all branches of its group say
# (`sagas.storage.group_reports`).
#
# A child that has ended is returned with its parent, whose step waits for it
# (`sagas.storage.children`).
#
# The last condition skips a row where only rescue_at would change, and by less than a tenth. Each
# update writes a new version of the row, into all indexes. The price: a saga may count as stalled
# up to a tenth of SAGA_STALL_SECONDS too early.
RECORD_PROGRESS = """
UPDATE {tracked} s
   SET redrives = 0,
       early_redrives = 0,
       rescue_at = {stalled_at} + GREATEST(v.waits_until - clock_timestamp(), interval '0'),
       waits_until = v.waits_until,
       on_hold = v.on_hold,
       needs_attention = CASE WHEN v.ends OR s.ended_at IS NOT NULL THEN false
                              WHEN v.on_hold <> '' THEN s.needs_attention OR v.needs_attention
                              ELSE v.needs_attention END,
       ended_at = CASE WHEN v.ends THEN COALESCE(s.ended_at, clock_timestamp())
                       ELSE s.ended_at END
  FROM (SELECT e.id, e.ends,
               e.needs_attention OR o.needs_attention AND l.is_late AS needs_attention,
               CASE WHEN l.is_late THEN o.on_hold ELSE e.on_hold END AS on_hold,
               CASE WHEN l.is_late THEN o.waits_until ELSE e.waits_until END AS waits_until
          FROM jsonb_to_recordset(%(rows)s::jsonb)
            AS e(id uuid, needs_attention bool, ends bool, on_hold text, waits_until timestamptz,
                 at timestamptz, branches jsonb, own_step text)
          JOIN {tracked} o ON o.id = e.id
          CROSS JOIN LATERAL (SELECT {is_late} AS is_late) l) v
 WHERE s.id = v.id
   AND (v.ends OR v.needs_attention OR s.needs_attention OR s.redrives > 0
        OR s.early_redrives > 0 OR s.on_hold <> v.on_hold
        OR s.waits_until IS DISTINCT FROM v.waits_until
        OR s.rescue_at < {nearly_stalled_at})
RETURNING s.id, CASE WHEN v.ends THEN s.parent_saga END, s.parent_step,
          CASE WHEN v.ends AND s.parent_saga IS NOT NULL THEN s.plan ->> 'abort' END
"""

# Condition: event `e` is older than the event that has set the columns of tracked row `o`
# The events of the group of `e` do not count: `v` has them already.
# A hold or a wait of a step that has gone on since is over. Only events of the same step count for
# that, because the clocks of two services differ.
IS_LATE = """CASE
  WHEN (e.on_hold <> '' OR e.waits_until IS NOT NULL)
       AND EXISTS (SELECT 1 FROM {timeline} t
                    WHERE t.saga = o.id AND t.step = e.own_step AND t.at > e.at
                      AND (t.type <> ALL(%(notices)s::text[]) OR t.detail ? %(wait)s)) THEN true
  WHEN o.on_hold = '' AND o.waits_until IS NULL AND NOT o.needs_attention THEN false
  ELSE EXISTS (SELECT 1 FROM {timeline} t
                WHERE t.saga = o.id AND t.at > e.at AND NOT e.branches ? t.step
                  AND (t.type = ANY(%(reports)s::text[]) OR t.detail ? %(wait)s)) END"""

# End an agreed wait before its time
# Only the wait that ends at `waits_until`: the saga may wait for something else by now.
END_WAIT = """
UPDATE {tracked} SET waits_until = NULL, rescue_at = {stalled_at}
 WHERE id = %(saga)s AND waits_until = %(waits_until)s AND ended_at IS NULL
"""

# The first event
FIRST = "SELECT detail::text FROM {timeline} WHERE saga = %(saga)s ORDER BY seq, at LIMIT 1"

# The events of some steps
OF_STEPS = """
SELECT step, type FROM {timeline} WHERE saga = %(saga)s AND step = ANY(%(steps)s::text[])
"""

# The share of SAGA_STALL_SECONDS by which rescue_at must change before it is worth an update.
SMALLEST_CHANGE = 0.1


class SagasLocked(Exception):
    """Some tracked rows stay locked. `entries` are their events; the others are recorded."""

    def __init__(self, home: Home, entries: Sequence[TimelineEntry]) -> None:
        self.entries = list(entries)
        super().__init__(
            f"Another transaction keeps {' and '.join(home.tables)} locked for"
            f" {len({entry.saga for entry in entries})} sagas, first {entries[0].saga}."
        )


def start_cte(table: str, saga: UUID) -> sql.CommonTableExpressions:
    """Return an expression that starts the stall clock of a saga with a tracked row in a table."""
    statement = START_CLOCK.format(tracked=table, stalled_at=sql.seconds_from_now("%(stall)s"))
    params = {"tracked": saga, "stall": settings.STALL_SECONDS}

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


def first_detail(home: Home, saga: UUID) -> dict[str, Any]:
    """Return the fields of a saga's first event. Raises LookupError if it was never started."""
    statement = FIRST.format(timeline=home.timeline._meta.db_table)
    for (detail,) in sql.fetch(home.alias, statement, {"saga": saga}):
        fields: dict[str, Any] = msgspec.json.decode(detail)
        return fields
    raise LookupError(f"{home.name} has no timeline of saga {saga}: the saga was never started.")


def types_by_step(home: Home, saga: UUID, steps: Collection[str]) -> dict[str, set[str]]:
    """Return the types of the events that some steps of a saga have written, as far as the home
    knows them.
    """
    params = {"saga": saga, "steps": sql.array_literal(steps)}
    statement = OF_STEPS.format(timeline=home.timeline._meta.db_table)
    found: dict[str, set[str]] = {step: set() for step in steps}
    for step, type_ in sql.fetch(home.alias, statement, params):
        found[step].add(type_)
    return found


def end_wait(home: Home, saga: UUID, *, waits_until: datetime) -> None:
    """End an agreed wait that would last until `waits_until`, and start the stall clock again.

    Without this, a message that is lost behind the wait would be missed only after that time.
    """
    params = {"saga": saga, "waits_until": waits_until, "stall": settings.STALL_SECONDS}
    stalled_at = sql.seconds_from_now("%(stall)s")
    for table in home.tables:
        sql.run(home.alias, END_WAIT.format(tracked=table, stalled_at=stalled_at), params)


def record(home: Home, entries: Sequence[TimelineEntry]) -> int:
    """Record events in one transaction and apply new ones to the domain; return how many were new.

    An event that was recorded before changes nothing. Raises `SagasLocked` after it has recorded
    the events of all sagas whose row is not locked. If the transaction fails because of its
    data, the events of each saga are recorded alone; then the error of the first saga that fails is
    raised.
    """
    try:
        return _record_together(home, entries)
    except Exception as error:
        by_saga = _by_saga(entries)
        may_pass = isinstance(error, SagasLocked) or sql.is_transient_database_error(error)
        if may_pass or len(by_saga) == 1:
            raise
        logger.warning(
            "Could not record the timeline events of %d sagas of %s together;"
            " recording each saga alone: %r",
            len(by_saga),
            home.name,
            error,
        )

    return _record_each(home, by_saga)


def _record_each(home: Home, by_saga: Mapping[UUID, Sequence[TimelineEntry]]) -> int:
    """Record the events of each saga alone; raise the first error after all others are recorded."""
    recorded = 0
    first_error: Exception | None = None
    for saga, entries in by_saga.items():
        try:
            recorded += _record_together(home, entries)
        except Exception as error:
            if isinstance(error, SagasLocked) or sql.is_transient_database_error(error):
                raise
            logger.exception(
                "Could not record %d timeline events of saga %s in %s; the saga itself goes on",
                len(entries),
                saga,
                home.name,
            )
            first_error = first_error or error

    if first_error:
        raise first_error
    return recorded


def _by_saga(entries: Sequence[TimelineEntry]) -> dict[UUID, list[TimelineEntry]]:
    by_saga: dict[UUID, list[TimelineEntry]] = {}
    for entry in entries:
        by_saga.setdefault(entry.saga, []).append(entry)
    return by_saga


def _record_together(home: Home, entries: Sequence[TimelineEntry]) -> int:
    with transaction.atomic(using=home.alias):
        busy = _lock(home, {entry.saga for entry in entries})
        free = [entry for entry in entries if entry.saga not in busy]
        new = _insert(home, free) if free else []
        for moving in _in_turns([entry for entry in new if not _only_informs(entry)]):
            _record_progress(home, moving)
        _apply(home, new)

    if busy:
        raise SagasLocked(home, [entry for entry in entries if entry.saga in busy])
    return len(new)


def _lock(home: Home, sagas: set[UUID]) -> set[UUID]:
    """Lock the tracked rows; return the sagas whose row another transaction keeps locked."""
    missing = sagas - _ids(home, LOCK_FREE, sagas)
    existing = _ids(home, EXISTING, missing) if missing else set()
    if not existing:
        return set()

    try:
        with transaction.atomic(using=home.alias), sql.lock_wait(home.alias, LOCK_WAIT_MS):
            _ids(home, LOCK, existing)
    except DatabaseError as error:
        if not sql.is_lock_timeout(error):
            raise
        return existing
    return set()


def _ids(home: Home, statement: str, sagas: set[UUID]) -> set[UUID]:
    return set[UUID]().union(*(_ids_in(home, table, statement, sagas) for table in home.tables))


def _ids_in(home: Home, table: str, statement: str, sagas: set[UUID]) -> set[UUID]:
    params = {"sagas": sql.array_literal(sagas)}
    return {saga for (saga,) in sql.fetch(home.alias, statement.format(tracked=table), params)}


def _apply(home: Home, new: Sequence[TimelineEntry]) -> None:
    """Let each kind of saga read its own new entries."""
    sagas = {entry.saga for entry in new}
    for kind, table in zip(home.kinds, home.tables, strict=True):
        own = sagas if len(home.kinds) == 1 else _ids_in(home, table, EXISTING, sagas)
        if entries := [entry for entry in new if entry.saga in own]:
            kind.apply_events(entries)


def _insert(home: Home, entries: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """Insert the entries; return the new ones, oldest first."""
    statement = INSERT.format(timeline=home.timeline._meta.db_table)
    rows = sql.fetch(home.alias, statement, {"entries": to_json(entries)})
    inserted = {entry_id for (entry_id,) in rows}

    new = [entry for entry in entries if entry.id in inserted]
    return sorted(new, key=lambda entry: (entry.seq, str(entry.at)))


def _only_informs(entry: TimelineEntry) -> bool:
    return group_reports.only_informs(entry.type, waits=WAITS_UNTIL in entry.detail)


def _in_turns(entries: Sequence[TimelineEntry]) -> Iterator[Sequence[TimelineEntry]]:
    """Yield the entries that are written together: all, unless some are of parallel branches.

    The last entry of a saga says how it stands. With parallel branches each entry says something.
    """
    alone = [entry for entry in entries if entry.beside]
    sagas = {entry.saga for entry in alone}
    if others := [entry for entry in entries if entry.saga not in sagas]:
        yield others
    for entry in entries:
        if entry.saga in sagas:
            yield [entry]


def _record_progress(home: Home, entries: Sequence[TimelineEntry]) -> None:
    """Write what new entries, oldest first, say about their sagas to the tracked rows."""
    latest = {entry.saga: entry for entry in entries}
    last = {entry.saga: entry.step for entry in entries if entry.ends}

    params = {
        "stall": settings.STALL_SECONDS,
        "rows": sql.json_rows(
            _progress_row(home, entry, ends=entry.saga in last) for entry in latest.values()
        ),
        "notices": group_reports.informing_types(),
        "reports": [NEEDS_ATTENTION, ON_HOLD],
        "wait": WAITS_UNTIL,
    }
    table_name = home.timeline._meta.db_table
    is_late = IS_LATE.format(timeline=table_name)
    for table in home.tables:
        statement = RECORD_PROGRESS.format(
            tracked=table,
            is_late=is_late,
            stalled_at=sql.seconds_from_now("%(stall)s"),
            nearly_stalled_at=sql.seconds_from_now(f"%(stall)s * {1 - SMALLEST_CHANGE}"),
        )
        ended = [
            EndedSaga(saga, parent, parent_step, is_undone=last[saga] == abort)
            for saga, parent, parent_step, abort in sql.fetch(home.alias, statement, params)
            if parent is not None
        ]
        note_ends(home, ended)


def _progress_row(home: Home, entry: TimelineEntry, *, ends: bool) -> dict[str, Any]:
    """Return what the latest entry of a saga says about it, as a row of RECORD_PROGRESS."""
    report = group_reports.of_group(home, entry) if entry.beside else group_reports.of_entry(entry)
    return {
        "id": entry.saga,
        "needs_attention": report.needs_attention,
        "ends": ends,
        "on_hold": report.on_hold,
        "waits_until": report.waits_until,
        "at": entry.at,
        "branches": [entry.step, *entry.beside] if entry.beside else [],
        # The report of a group has the later events of all branches already.
        "own_step": None if entry.beside else entry.step,
    }
