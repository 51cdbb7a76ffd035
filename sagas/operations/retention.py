"""Retention: every service deletes the messages of sagas that are over, SAGA_RETENTION_DAYS later.

A service decides by its own rows and its own clock. Only one fact comes from outside: which old
sagas are still open. Their home lists them every hour, a day before they reach the age. So the
message of a home only delays a purge. Forged, repeated, late or reordered, it deletes nothing that
is younger, still open in the rows of this service, or on a list of the last day.

Each service has a watermark for each home. A message of a saga that is older and on no list is
parked and never run, because its inbox row may be deleted.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction

from sagas import sql
from sagas.conf import settings
from sagas.definition.messages import to_json
from sagas.definition.sizes import MOST_SAGAS_LISTED
from sagas.delivery.task_signatures import task_signature
from sagas.storage.registry import Home, Service, UnknownService, get_home, home_names
from sagas.storage.registry import service_names as all_services
from sagas.storage.signals import EARLY

__all__ = ["OpenSagas", "broadcast", "purge"]

logger = logging.getLogger(__name__)

# A home lists an open saga this long before the watermark reaches it, and a service keeps a listed
# saga this long after the last list that names it. A watermark does not move before the lists of
# its home have arrived for this long, and until then every listed saga is kept. A home beats every
# hour, so it repeats each list many times.
NOTICE = timedelta(days=1)

# Sagas that are deleted in one transaction, so that no other transaction waits for long. Sagas are
# looked up many at a time, because each look-up scans the deleted rows that are not yet vacuumed.
DELETED_AT_ONCE = 200
FOUND_AT_ONCE = 50_000

LIST_OPEN = """
SELECT now() - make_interval(days => %(days)s),
       ARRAY(SELECT id FROM {tracked} WHERE ended_at IS NULL
                AND created_at < now() - make_interval(days => %(days)s) + %(notice)s)
"""

# Before the first list the watermark is the epoch: it has passed no saga.
ADD_WATERMARK = """
INSERT INTO {watermark} (id, home, before, kept)
SELECT GREATEST(max(id), 1) + 1, %(home)s, 'epoch', '{{}}' FROM {watermark}
ON CONFLICT (home) DO NOTHING
"""

LOCK_WATERMARK = """
SELECT before, listed_before, heard_since, heard_at, listed::text,
       now(), now() - make_interval(days => %(days)s)
  FROM {watermark} WHERE home = %(home)s FOR UPDATE
"""

SET_WATERMARK = """
UPDATE {watermark}
   SET before = %(before)s, kept = %(kept)s::uuid[], listed = %(listed)s::jsonb,
       listed_before = %(listed_before)s, heard_since = %(heard_since)s, heard_at = now()
 WHERE home = %(home)s
"""

MARKS = """
SELECT home, before, kept, now() - make_interval(days => %(days)s) FROM {watermark}
"""

# Find the next old sagas of a home
# The plan in an outbox row names the home.
OLD = """
SELECT DISTINCT saga FROM {outbox}
 WHERE saga_started_at < %(before)s AND split_part(plan->>'abort', '.', 1) = %(home)s
   AND NOT saga = ANY(%(kept)s::uuid[]) AND saga > %(after)s
 ORDER BY saga LIMIT %(limit)s
"""

# A row parked for ever: see PARK in sagas.storage.inbox_sql.
PARKED = "i.state = 'waiting' AND i.due_at >= timestamptz '9999-01-01'"

# The rows that keep no saga: parked ones, and signals whose wait never began. Those belong to sagas
# that have ended before, because no list of their home has named them.
IDLE = f"({PARKED} OR {EARLY})"

# The sagas that are over in the rows of this service. An open step, an unsent row, and any row that
# was written or sent since the horizon keep a saga. So does the row of an open saga, at its home.
OVER = """
SELECT s.saga FROM unnest(%(sagas)s::uuid[]) AS s(saga)
 WHERE NOT EXISTS (SELECT 1 FROM {outbox} o WHERE o.saga = s.saga
                      AND coalesce(o.published_at, 'infinity') >= %(horizon)s)
   AND NOT EXISTS (SELECT 1 FROM {inbox} i WHERE i.saga = s.saga
                      AND (i.updated_at >= %(horizon)s
                           OR i.state IN ('started', 'waiting', 'held') AND NOT {idle}))
   AND {ended}
"""

ENDED = "NOT EXISTS (SELECT 1 FROM {tracked} t WHERE t.id = s.saga AND t.ended_at IS NULL)"

DELETE = "DELETE FROM {table} WHERE saga = ANY(%(sagas)s::uuid[])"

# Rows without an outbox row do not say which home they belong to. They are deleted once every
# home's watermark has passed them.
OLD_PARKED = """
i.saga_started_at < %(before)s AND i.updated_at < %(horizon)s
AND NOT i.saga = ANY(%(kept)s::uuid[])
AND (i.state IN ('done', 'refused') OR {idle})
AND NOT EXISTS (SELECT 1 FROM {outbox} o WHERE o.saga = i.saga)
"""
FIND_PARKED = "SELECT i.id FROM {inbox} i WHERE {old} LIMIT %(limit)s"
DELETE_PARKED = "DELETE FROM {inbox} i WHERE i.id = ANY(%(ids)s::bigint[]) AND {old}"

OLD_HOLD = """
old.saga IS NOT NULL AND old.since < %(before)s AND NOT old.saga = ANY(%(kept)s::uuid[])
AND NOT EXISTS (SELECT 1 FROM {outbox} o WHERE o.saga = old.saga)
AND NOT EXISTS (SELECT 1 FROM {inbox} i WHERE i.saga = old.saga)
"""

LOWEST = UUID(int=0)


class OpenSagas(NamedTuple):
    """A home's list of its open sagas that started before `before`, or up to `NOTICE` later."""

    home: str
    before: datetime
    sagas: Sequence[UUID]


class _Mark(NamedTuple):
    """A watermark for one home. `horizon`: SAGA_RETENTION_DAYS ago, by this service's clock."""

    home: str
    before: datetime
    kept: Sequence[UUID]
    horizon: datetime


def broadcast(home: Home) -> None:
    """Send every service the list of the old open sagas of a home."""
    params = {"days": settings.RETENTION_DAYS, "notice": NOTICE}
    lists = [
        row
        for table in home.tables
        for row in sql.fetch(home.alias, LIST_OPEN.format(tracked=table), params)
    ]
    before = min(date for date, _ in lists)
    open_sagas = [saga for _, sagas in lists for saga in sagas]

    if len(open_sagas) > MOST_SAGAS_LISTED:
        logger.error(
            "%s has %d open sagas older than SAGA_RETENTION_DAYS, more than the %d that fit into a"
            " message. No service deletes old messages until these sagas end.",
            home.name,
            len(open_sagas),
            MOST_SAGAS_LISTED,
        )
        return

    kept = [str(saga) for saga in open_sagas]
    for service in all_services():
        task_signature(
            "purge", service, before.isoformat(), kept, home.name, queue=service
        ).apply_async()


def purge(service: Service, open_sagas: OpenSagas) -> int:
    """Keep a home's list, then delete the messages of its sagas that are over; return the number
    of rows. Raises `UnknownService` if there is no such home.

    The watermark commits first: from then on no message of a deleted saga runs.
    """
    get_home(open_sagas.home)
    with transaction.atomic(using=service.alias):
        _keep_list(service, open_sagas)

    marks = _marks(service)
    return _purge_home(service, marks[open_sagas.home]) + _purge_homeless(service, marks)


def _keep_list(service: Service, open_sagas: OpenSagas) -> None:
    """Move the watermark of a home. A list that is not newer than the last one changes nothing."""
    params = {"home": open_sagas.home, "days": settings.RETENTION_DAYS}
    sql.run(service.alias, ADD_WATERMARK.format(watermark=service.watermark), params)
    ((before, listed_before, since, heard_at, listed, now, horizon),) = sql.fetch(
        service.alias, LOCK_WATERMARK.format(watermark=service.watermark), params
    )

    if open_sagas.before > horizon + NOTICE:
        logger.error(
            "Ignored a list of open sagas of %s in %s, because its date %s is later than"
            " SAGA_RETENTION_DAYS ago."
            " Compare this setting and the clocks of both databases; else the message was forged.",
            open_sagas.home,
            service.name,
            open_sagas.before.isoformat(),
        )
        return
    if listed_before is not None and open_sagas.before <= listed_before:
        return

    is_gap = heard_at is None or heard_at < now - NOTICE
    heard_since = now if is_gap else since
    may_move = heard_since <= now - NOTICE

    # A home that was silent has named no saga lately, so nothing is forgotten until it has repeated
    # its lists.
    known = msgspec.json.decode(listed or "{}", type=dict[UUID, datetime])
    kept = {saga: at for saga, at in known.items() if at >= now - NOTICE or not may_move}
    kept |= dict.fromkeys(open_sagas.sagas, now)
    new_values = {
        "before": max(before, min(open_sagas.before, horizon)) if may_move else before,
        "kept": list(kept),
        "listed": to_json({str(saga): at for saga, at in kept.items()}),
        "listed_before": open_sagas.before,
        "heard_since": heard_since,
        "home": open_sagas.home,
    }
    sql.run(service.alias, SET_WATERMARK.format(watermark=service.watermark), new_values)


def _marks(service: Service) -> dict[str, _Mark]:
    statement = MARKS.format(watermark=service.watermark)
    params = {"days": settings.RETENTION_DAYS}
    return {row[0]: _Mark(*row) for row in sql.fetch(service.alias, statement, params)}


def _purge_home(service: Service, mark: _Mark) -> int:
    deleted = 0
    for old in _old_sagas(service, mark):
        for start in range(0, len(old), DELETED_AT_ONCE):
            deleted += _delete_over(service, mark, old[start : start + DELETED_AT_ONCE])
    return deleted


def _old_sagas(service: Service, mark: _Mark) -> Iterator[list[UUID]]:
    statement = OLD.format(outbox=service.outbox)
    after = LOWEST
    while True:
        params = {**mark._asdict(), "after": after, "limit": FOUND_AT_ONCE}
        sagas = [saga for (saga,) in sql.fetch(service.alias, statement, params)]
        if not sagas:
            return
        yield sagas
        after = sagas[-1]


def _delete_over(service: Service, mark: _Mark, sagas: Sequence[UUID]) -> int:
    """Delete the rows of the sagas that are over, in one transaction; return the number of rows."""
    statement = OVER.format(
        outbox=service.outbox, inbox=service.inbox, idle=IDLE, ended=_ended_here(service)
    )
    params: dict[str, Any] = {"sagas": sagas, "horizon": mark.horizon}
    with transaction.atomic(using=service.alias):
        over = [saga for (saga,) in sql.fetch(service.alias, statement, params)]
        if not over:
            return 0
        sql.run(service.alias, DELETE.format(table=service.hold), {"sagas": over})
        return sum(
            sql.run(service.alias, DELETE.format(table=table), {"sagas": over})
            for table in (service.inbox, service.outbox)
        )


def _ended_here(service: Service) -> str:
    """Return the condition that a saga `s` is not open at its home, if the home is this service."""
    try:
        home = get_home(service.name)
    except UnknownService:
        return "true"
    return " AND ".join(ENDED.format(tracked=table) for table in home.tables)


def _purge_homeless(service: Service, marks: dict[str, _Mark]) -> int:
    """Delete the old parked rows and holds of sagas that have no outbox row here."""
    passed = [marks[home] for home in home_names() if home in marks]
    if len(passed) < len(home_names()):
        return 0

    params = {
        "before": min(mark.before for mark in passed),
        "horizon": passed[0].horizon,
        "kept": [saga for mark in passed for saga in mark.kept],
        "limit": FOUND_AT_ONCE,
    }
    tables = {"outbox": service.outbox, "inbox": service.inbox}
    old_hold = OLD_HOLD.format(**tables)
    sql.delete_in_batches(service.alias, service.hold, old_hold, params, order="since")

    names = {"inbox": service.inbox, "old": OLD_PARKED.format(**tables, idle=IDLE)}
    found = [id_ for (id_,) in sql.fetch(service.alias, FIND_PARKED.format(**names), params)]
    statement = DELETE_PARKED.format(**names)
    deleted = 0
    for start in range(0, len(found), sql.DELETED_AT_ONCE):
        ids = found[start : start + sql.DELETED_AT_ONCE]
        deleted += sql.run(service.alias, statement, {**params, "ids": ids})
    return deleted
