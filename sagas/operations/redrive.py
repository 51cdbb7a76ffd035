"""Re-drives: every service publishes the outbox rows of a stalled saga again.

A saga has stalled if it has not ended and shows no progress for SAGA_STALL_SECONDS. Receivers that
already did their step ignore the message, so an unneeded re-drive costs messages and nothing else.
The interval doubles with each re-drive of a saga. A saga on hold has not stalled. No round starts
while the broker has a backlog, because a saga in a long queue has not stalled either.
"""

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from sagas import backoff
from sagas.definition.plan import Plan
from sagas.delivery import queues, relay
from sagas.delivery.task_signatures import task_signature
from sagas.observability import instrumentation
from sagas.operations import holds
from sagas.storage import outbox, sql
from sagas.storage.registry import Home, Service

__all__ = ["republish", "run_once"]

logger = logging.getLogger(__name__)

# The most sagas that are re-driven in one round.
BATCH_SIZE = 500

# With more messages than this in one queue, no round starts.
MAX_QUEUE_LENGTH = 200

# The longest interval between two re-drives of a saga, in units of SAGA_STALL_SECONDS.
MAX_STALLS = 64

# The saga waited for interval 1 before its first re-drive, so the next interval is redrives + 2.
STALLED = sql.lease_statement(
    "{tracked} s",
    due="rescue_at",
    seconds=backoff.exponential_sql("redrives + 2", first="%(stall)s", longest="%(longest)s"),
    condition="ended_at IS NULL AND NOT {on_hold}",
    changes=[
        "redrives = redrives + 1",
        "needs_attention = needs_attention OR redrives + 1 >= %(redrives)s",
    ],
    returning="id, plan::text",
)


def run_once(home: Home) -> int:
    """Re-drive the sagas that stalled first; return how many."""
    if queues.home_backlog(home.name) > MAX_QUEUE_LENGTH:
        instrumentation.record_redrive(home.name, 0)
        return 0

    stalled = _take_stalled(home)
    for service, sagas in _by_service(stalled).items():
        ids = [str(saga) for saga in sagas]
        task_signature("redrive", service, ids, queue=service).apply_async()

    instrumentation.record_redrive(home.name, len(stalled))
    if stalled:
        logger.warning(
            "Re-driving %d sagas of %s that made no progress, the first is %s. "
            "If this repeats, check the workers, the broker and the open steps of these sagas.",
            len(stalled),
            home.name,
            stalled[0][0],
        )
    return len(stalled)


def republish(service: Service, sagas: Sequence[UUID]) -> int:
    """Publish all outbox rows of some sagas again; return the number of rows."""
    rows = outbox.republish(service, sagas=sagas)
    relay.flush(service)
    return rows


def _take_stalled(home: Home) -> list[tuple[Any, ...]]:
    """Set the time of the next re-drive of stalled sagas, and return their ids and plans."""
    params = {
        "stall": settings.SAGA_STALL_SECONDS,
        "longest": MAX_STALLS * settings.SAGA_STALL_SECONDS,
        "redrives": settings.SAGA_REDRIVES,
        "limit": BATCH_SIZE,
    }
    table = home.tracked._meta.db_table
    statement = STALLED.format(tracked=table, on_hold=holds.is_on_hold(home))
    return sql.fetch(home.alias, statement, params)


def _by_service(stalled: Sequence[tuple[Any, ...]]) -> dict[str, list[UUID]]:
    by_service: dict[str, list[UUID]] = {}
    for saga, plan in stalled:
        for service in msgspec.json.decode(plan, type=Plan).services():
            by_service.setdefault(service, []).append(saga)
    return by_service
