"""The rescue: finds sagas that have not ended and show no progress, and has every service send
their rows again.

Receivers that already did a step stay silent, so a re-drive that was not needed costs messages and
nothing else. The interval doubles with each re-drive of a saga, rounds are bounded, and none starts
while the broker has a backlog: a queue that is long is not a stall. Neither is a hold.
"""

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from sagas.definition.plan import Plan
from sagas.delivery import queues, relay
from sagas.delivery.signatures import task_signature
from sagas.observability import instrumentation
from sagas.operations import holds
from sagas.storage import outbox, sql
from sagas.storage.registry import Home, Service

__all__ = ["make_rows_due", "run_once"]

logger = logging.getLogger(__name__)

# Sagas re-driven in one round, and messages in one queue above which no round starts.
ROUND = 500
BACKLOG = 200

# The interval stops doubling here: 64 × SAGA_STALL_SECONDS.
MOST_DOUBLINGS = 6

STALLED = """
UPDATE {tracked} s
   SET redrives = s.redrives + 1,
       rescue_at = clock_timestamp() + make_interval(secs => %(stall)s * 2 ^ LEAST(s.redrives + 1, %(doublings)s)),
       needs_attention = s.needs_attention OR s.redrives + 1 >= %(redrives)s
 WHERE s.id = ANY(ARRAY(SELECT id FROM {tracked} s WHERE ended_at IS NULL AND rescue_at <= now()
                            AND NOT {on_hold}
                         ORDER BY rescue_at LIMIT %(round)s FOR NO KEY UPDATE SKIP LOCKED))
RETURNING s.id, s.plan::text
"""


def run_once(home: Home) -> int:
    """Re-drive the sagas that have stalled longest; return how many."""
    if queues.home_backlog(home.name) > BACKLOG:
        instrumentation.rescued(home.name, 0)
        return 0
    params = {
        "stall": settings.SAGA_STALL_SECONDS,
        "doublings": MOST_DOUBLINGS,
        "redrives": settings.SAGA_REDRIVES,
        "round": ROUND,
    }
    statement = STALLED.format(tracked=home.tracked._meta.db_table, on_hold=holds.is_on_hold(home))
    stalled = sql.fetch(home.alias, statement, params)
    for service, sagas in _by_service(stalled).items():
        task_signature(
            "redrive", service, [str(saga) for saga in sagas], queue=service
        ).apply_async()
    instrumentation.rescued(home.name, len(stalled))
    if stalled:
        logger.warning(
            "%d sagas have not moved and are driven again, first %s", len(stalled), stalled[0][0]
        )
    return len(stalled)


def make_rows_due(service: Service, sagas: Sequence[UUID]) -> int:
    """Make all of a service's outbox rows of these sagas due again, and send them; return how
    many.
    """
    rearmed = outbox.republish(service, sagas=sagas)
    relay.flush(service)
    return rearmed


def _by_service(stalled: Sequence[tuple[Any, ...]]) -> dict[str, list[UUID]]:
    found: dict[str, list[UUID]] = {}
    for saga, plan in stalled:
        for service in msgspec.json.decode(plan, type=Plan).services():
            found.setdefault(service, []).append(saga)
    return found
