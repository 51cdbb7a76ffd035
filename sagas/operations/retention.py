"""Retention: every service deletes the messages of sagas that ended SAGA_RETENTION_DAYS ago.

An open saga keeps all its rows, however old, because a re-drive needs them. Each service records a
watermark: a message of an older saga is parked and never run, because its inbox row is gone.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from sagas.delivery.task_signatures import task_signature
from sagas.storage import sql
from sagas.storage.registry import Home, Service, service_names

__all__ = ["broadcast", "purge"]

# Rows deleted in one transaction, so that no other transaction waits for long. Rows are looked up
# many at a time, because each look-up scans the deleted rows that are not yet vacuumed.
DELETED_AT_ONCE = 1_000
FOUND_AT_ONCE = 50_000

HORIZON = """
SELECT now() - make_interval(days => %(days)s),
       ARRAY(SELECT id FROM {tracked} WHERE ended_at IS NULL
                AND created_at < now() - make_interval(days => %(days)s))
"""

SET_WATERMARK = """
INSERT INTO {watermark} AS w (id, before, kept) VALUES (1, %(before)s, %(kept)s::uuid[])
ON CONFLICT (id) DO UPDATE SET before = GREATEST(w.before, EXCLUDED.before), kept = EXCLUDED.kept
"""

# Holds on sagas only. These sagas ended so long ago that no message of theirs can arrive any more.
DELETE_HOLDS = """
DELETE FROM {hold}
 WHERE saga IS NOT NULL AND since < %(before)s AND NOT saga = ANY(%(kept)s::uuid[])
"""

FIND = """
SELECT id FROM {table}
 WHERE saga_started_at < %(before)s AND NOT saga = ANY(%(kept)s::uuid[]) LIMIT %(limit)s
"""

DELETE = "DELETE FROM {table} WHERE id = ANY(%(ids)s)"


def broadcast(home: Home) -> None:
    """Send every service the time before which to purge, and the open sagas older than that."""
    statement = HORIZON.format(tracked=home.tracked._meta.db_table)
    params = {"days": settings.SAGA_RETENTION_DAYS}
    ((before, open_sagas),) = sql.fetch(home.alias, statement, params)

    kept = [str(saga) for saga in open_sagas]
    for service in service_names():
        task_signature("purge", service, before.isoformat(), kept, queue=service).apply_async()


def purge(service: Service, *, before: datetime, kept: Sequence[UUID]) -> int:
    """Delete the messages of sagas that started before a time, except those in `kept`.

    Return the number of rows. The watermark commits first: from then on no message of a purged saga
    runs.
    """
    params = {"before": before, "kept": list(kept), "limit": FOUND_AT_ONCE}
    with transaction.atomic(using=service.alias):
        sql.run(service.alias, SET_WATERMARK.format(watermark=service.watermark), params)
        sql.run(service.alias, DELETE_HOLDS.format(hold=service.hold), params)

    return sum(_purge_table(service, table, params) for table in (service.outbox, service.inbox))


def _purge_table(service: Service, table: str, params: dict[str, object]) -> int:
    find, delete = FIND.format(table=table), DELETE.format(table=table)
    deleted = 0
    while ids := [row[0] for row in sql.fetch(service.alias, find, params)]:
        for start in range(0, len(ids), DELETED_AT_ONCE):
            chunk = ids[start : start + DELETED_AT_ONCE]
            deleted += sql.run(service.alias, delete, {"ids": chunk})
    return deleted
