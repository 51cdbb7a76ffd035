"""Re-drives: every service publishes the outbox rows of a stalled saga again.

A saga has stalled if it has not ended and shows no progress for SAGA_STALL_SECONDS. Receivers that
already did their step ignore the message, so an unneeded re-drive costs messages and nothing else.
The interval doubles with each re-drive of a saga. A saga on hold has not stalled. While the
broker has a backlog, a round is small, because most sagas in a long queue have not stalled either.

A saga is quiet if it shows no progress for a fifth of that time. At light load it is probably one
whose message is lost, so it is re-driven then, and again after twice and four times as long. That
counts as no re-drive and calls for no attention. With longer queues or many quiet sagas, the work
is late and not lost, and the stalled sagas alone are re-driven.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from sagas import backoff, sql
from sagas.conf import settings
from sagas.definition.messages import decode_each
from sagas.definition.plan import Plan
from sagas.delivery import queues, relay
from sagas.delivery.task_signatures import task_signature
from sagas.observability import instrumentation
from sagas.operations import holds
from sagas.storage import outbox
from sagas.storage.registry import Home, Service

__all__ = ["republish", "run_once"]

logger = logging.getLogger(__name__)

# The most sagas that are re-driven in one round.
BATCH_SIZE = 500

# With more messages than this in one queue, a round re-drives only a few stalled sagas. So the
# rescue of a saga does not depend on the backlog of others; only its pace does.
MAX_QUEUE_LENGTH = 200
BATCH_SIZE_IN_BACKLOG = 20

# The longest interval between two re-drives of a saga, in units of SAGA_STALL_SECONDS.
MAX_STALLS = 64

# The load is light up to this number of messages in each queue, and of quiet sagas.
LIGHT_QUEUE_LENGTH = 20
MOST_QUIET = 50

# A quiet saga has shown no progress for this share of SAGA_STALL_SECONDS. Most steps end sooner.
QUIET_SHARE = 0.2

# Take stalled sagas
# The saga waited for interval 1 before its first re-drive, so the next interval is redrives + 2.
STALLED = """
WITH RECURSIVE {free_values}
UPDATE {tracked} s
   SET rescue_at = clock_timestamp() + make_interval(secs => {interval}),
       redrives = redrives + 1,
       needs_attention = needs_attention OR redrives + 1 >= %(redrives)s
 WHERE s.id = ANY(ARRAY(
         SELECT s.id
           FROM free, LATERAL (SELECT s.id, s.rescue_at FROM {tracked} s
                                WHERE s.ended_at IS NULL AND s.on_hold = free.on_hold
                                  AND s.rescue_at <= now() AND NOT {has_own_hold}
                                ORDER BY s.rescue_at LIMIT %(limit)s
                                  FOR NO KEY UPDATE SKIP LOCKED) s
          ORDER BY s.rescue_at LIMIT %(limit)s))
RETURNING s.id, s.plan::text
"""
INTERVAL = backoff.exponential_sql("redrives + 2", first="%(stall)s", longest="%(longest)s")

# Take quiet sagas
# `rescue_at` is SAGA_STALL_SECONDS after the last progress, or after the end of an agreed wait. The
# pause doubles with each early re-drive. Progress sets their number to 0.
QUIET = """
WITH RECURSIVE {free_values}, quiet AS MATERIALIZED (
  SELECT s.id
    FROM free, LATERAL (SELECT s.id FROM {tracked} s
                         WHERE s.ended_at IS NULL AND s.on_hold = free.on_hold AND s.redrives = 0
                           AND s.rescue_at > now() AND s.rescue_at <= now() + {left_after_pause}
                           AND NOT {has_own_hold}
                         ORDER BY s.rescue_at LIMIT %(most)s + 1) s
   LIMIT %(most)s + 1
)
UPDATE {tracked} s
   SET early_redrives = s.early_redrives + 1
 WHERE s.id = ANY(ARRAY(SELECT s.id FROM {tracked} s JOIN quiet ON quiet.id = s.id
                         WHERE (SELECT count(*) FROM quiet) <= %(most)s
                           AND s.ended_at IS NULL
                           AND s.rescue_at <= now() + {left_after_next_pause}
                         ORDER BY s.id FOR NO KEY UPDATE OF s SKIP LOCKED))
RETURNING s.id, s.plan::text
"""
LEFT_AFTER_PAUSE = "make_interval(secs => %(stall)s::float8 - %(quiet)s::float8)"
LEFT_AFTER_NEXT_PAUSE = (
    "make_interval(secs => %(stall)s::float8 - %(quiet)s::float8 * 2 ^ s.early_redrives)"
)


def run_once(home: Home) -> int:
    """Re-drive the sagas that stalled first, and at light load the quiet ones; return how many."""
    backlog = queues.home_backlog(home.name)
    limit = BATCH_SIZE if backlog <= MAX_QUEUE_LENGTH else BATCH_SIZE_IN_BACKLOG
    stalled = _take_stalled(home, limit=limit)
    quiet = _take_quiet(home) if backlog <= LIGHT_QUEUE_LENGTH else []
    for service, sagas in _by_service([*stalled, *quiet]).items():
        ids = [str(saga) for saga in sagas]
        task_signature("redrive", service, ids, queue=service).apply_async()

    instrumentation.record_redrive(home.name, len(stalled))
    if quiet:
        logger.info(
            "Re-driving %d sagas of %s early, because a message may be lost, the first is %s",
            len(quiet),
            home.name,
            quiet[0][0],
        )
    if stalled:
        logger.warning(
            "Re-driving %d sagas of %s that made no progress, the first is %s. "
            "If this repeats, check the workers, the broker and the open steps of these sagas.",
            len(stalled),
            home.name,
            stalled[0][0],
        )
    return len(stalled) + len(quiet)


def republish(service: Service, sagas: Sequence[UUID]) -> int:
    """Publish all outbox rows of some sagas again; return the number of rows."""
    rows = outbox.republish(service, sagas=sagas)
    relay.flush(service)
    return rows


def _take_stalled(home: Home, *, limit: int) -> list[tuple[Any, ...]]:
    """Set the time of the next re-drive of stalled sagas, and return their ids and plans."""
    params = {
        "stall": settings.STALL_SECONDS,
        "longest": MAX_STALLS * settings.STALL_SECONDS,
        "redrives": settings.REDRIVES,
        "limit": limit,
    }
    return _fetch(home, STALLED, params)


def _take_quiet(home: Home) -> list[tuple[Any, ...]]:
    """Count an early re-drive of the quiet sagas that are due for one; return ids and plans."""
    params = {
        "stall": settings.STALL_SECONDS,
        "quiet": settings.STALL_SECONDS * QUIET_SHARE,
        "most": MOST_QUIET,
    }
    return _fetch(home, QUIET, params)


def _fetch(home: Home, statement: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement for each kind of saga of a home; return all rows."""
    statements = (
        statement.format(
            tracked=table,
            free_values=holds.free_values(home, table),
            has_own_hold=holds.has_own_hold(home),
            interval=INTERVAL,
            left_after_pause=LEFT_AFTER_PAUSE,
            left_after_next_pause=LEFT_AFTER_NEXT_PAUSE,
        )
        for table in home.tables
    )
    return [row for each in statements for row in sql.fetch(home.alias, each, params)]


def _by_service(stalled: Sequence[tuple[Any, ...]]) -> dict[str, list[UUID]]:
    by_service: dict[str, list[UUID]] = {}
    readable, unreadable = decode_each(stalled, _saga_and_services)
    for saga, services in readable:
        for service in services:
            by_service.setdefault(service, []).append(saga)

    for (saga, *_), reason in unreadable:
        logger.error("The plan of saga %s cannot be read, so it is not re-driven: %s", saga, reason)
    return by_service


def _saga_and_services(row: Sequence[Any]) -> tuple[UUID, set[str]]:
    saga, plan = row
    return saga, msgspec.json.decode(plan, type=Plan).services()
