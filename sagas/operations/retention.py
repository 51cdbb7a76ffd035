"""Retention: what ended long ago is purged, saga by saga, in every service.

A saga that is still open keeps all its rows, however old: the rescue needs them. What was purged is
remembered by a watermark, so that a message of a saga that old is parked and never run a second
time.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from sagas.delivery.signatures import task_signature
from sagas.storage import sql
from sagas.storage.registry import Home, Service, service_names

__all__ = ["broadcast", "purge"]

# Rows deleted in one transaction: short enough to hold nobody up. They are looked for many at a
# time, for each look passes by all that was deleted before it and not yet vacuumed.
BATCH = 1_000
FOUND_AT_ONCE = 50_000

HORIZON = """
SELECT now() - make_interval(days => %(days)s),
       ARRAY(SELECT id FROM {tracked} WHERE ended_at IS NULL
                AND created_at < now() - make_interval(days => %(days)s))
"""

REMEMBER = """
INSERT INTO {watermark} AS w (id, before, kept) VALUES (1, %(before)s, %(kept)s::uuid[])
ON CONFLICT (id) DO UPDATE SET before = GREATEST(w.before, EXCLUDED.before), kept = EXCLUDED.kept
"""

FIND = """
SELECT id FROM {table} WHERE saga_started_at < %(before)s AND NOT saga = ANY(%(kept)s::uuid[]) LIMIT %(limit)s
"""
# Of sagas alone, and only those that were over before a message of theirs could come again.
FORGET_HOLDS = "DELETE FROM {hold} WHERE saga IS NOT NULL AND since < %(before)s AND NOT saga = ANY(%(kept)s::uuid[])"
DELETE = "DELETE FROM {table} WHERE id = ANY(%(ids)s)"


def broadcast(home: Home) -> None:
    """Tell every service from when on it must remember, and which older sagas are still open."""
    params = {"days": settings.SAGA_RETENTION_DAYS}
    ((before, kept),) = sql.fetch(
        home.alias, HORIZON.format(tracked=home.tracked._meta.db_table), params
    )
    for service in service_names():
        arguments = (service, before.isoformat(), [str(saga) for saga in kept])
        task_signature("purge", *arguments, queue=service).apply_async()


def purge(service: Service, *, before: datetime, kept: Sequence[UUID]) -> int:
    """Forget the sagas begun before a time, except the ones kept; return how many rows were
    deleted.

    The watermark commits first: from then on no message of a purged saga runs.
    """
    params = {"before": before, "kept": list(kept), "limit": FOUND_AT_ONCE}
    with transaction.atomic(using=service.alias):
        sql.run(service.alias, REMEMBER.format(watermark=service.watermark), params)
        sql.run(service.alias, FORGET_HOLDS.format(hold=service.hold), params)
    return sum(_empty(service, table, params) for table in (service.outbox, service.inbox))


def _empty(service: Service, table: str, params: dict[str, object]) -> int:
    deleted = 0
    while found := [row[0] for row in sql.fetch(service.alias, FIND.format(table=table), params)]:
        for start in range(0, len(found), BATCH):
            deleted += sql.run(
                service.alias, DELETE.format(table=table), {"ids": found[start : start + BATCH]}
            )
    return deleted
