"""Questions of a host about its sagas, answered from the engine's tables.

No statement reads more than `COUNT_LIMIT` rows of one service, and each uses an index.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import router, transaction
from django.db.models import BooleanField, ExpressionWrapper, Func, Q, QuerySet, TextField

from sagas import sql
from sagas.definition.plan import Plan
from sagas.delivery.wakeup import request_flush
from sagas.models import TimelineEvent, TrackedSaga
from sagas.operations.table_stats import COUNT_LIMIT
from sagas.storage import inbox
from sagas.storage.registry import Service, get_home, get_service, service_names, service_of_step
from sagas.storage.signals import EARLY

__all__ = [
    "COUNT_LIMIT",
    "HAS_ENDED",
    "FailingStep",
    "HeldSagas",
    "OpenStep",
    "SagaVersion",
    "events_recorded_after",
    "failing_steps",
    "held_behind",
    "held_by_destination",
    "is_undone",
    "open_steps",
    "request_flush",
    "saga_versions",
    "timeline_of",
    "wake_up",
]

OPEN = """
SELECT saga, step, state, attempts, error, send_at FROM {inbox} i
 WHERE saga = ANY(%(sagas)s::uuid[]) AND state IN ('started', 'waiting', 'held') AND NOT ({early})
 ORDER BY saga, id
"""

FAILING = """
SELECT step, count(*), max(attempts), (array_agg(error ORDER BY attempts DESC))[1]
  FROM (SELECT step, attempts, error FROM {inbox}
         WHERE state IN ('started', 'waiting') ORDER BY send_at LIMIT %(most)s) open
 WHERE error <> '' AND attempts > 0
 GROUP BY step
 ORDER BY step
"""

HELD = """
SELECT count(*) FROM (SELECT 1 FROM {inbox}
                       WHERE state = 'held' AND step = %(step)s LIMIT %(most)s) held
"""

# The rows at each destination on hold are counted, up to a limit. Rows that wait elsewhere are not
# read.
HELD_BY_DESTINATION = """
SELECT h.destination, held.sagas
  FROM {hold} h, LATERAL (SELECT count(*) AS sagas
                            FROM (SELECT 1 FROM {inbox} i
                                   WHERE i.state = 'held' AND i.step = %(step)s
                                     AND i.destination = h.destination LIMIT %(most)s) i) held
 WHERE h.calling_step = %(step)s AND held.sagas > 0
 ORDER BY 2 DESC, 1
"""
DESTINATIONS_ON_HOLD = "SELECT count(*) FROM {hold} WHERE calling_step = %(step)s"

# `state = 'waiting'` would make the planner read the partial index of open rows in full, whose
# statistics may say that it is empty. Hence coalesce().
WAITING = """
SELECT id FROM {inbox} WHERE saga = ANY(%(sagas)s::uuid[]) AND coalesce(state, '') = 'waiting'
"""


# The condition of a tracked row whose saga has no step left.
HAS_ENDED = Q(ended_at__isnull=False)

# Every commit that changes a row changes its xmin.
XMIN = "xmin::text"


class OpenStep(NamedTuple):
    """A step of a saga that is not over.

    `state` is `started`, `waiting` or `held`. `error` is the text of the last failure, or empty.
    `due_at` is when the step is tried again; None if only a person can move it.
    """

    saga: UUID
    service: str
    step: str
    state: str
    attempts: int
    error: str
    due_at: datetime | None


class FailingStep(NamedTuple):
    """A step whose last attempt failed for some sagas: how many, the most attempts, one error."""

    step: str
    sagas: int
    attempts: int
    error: str


class HeldSagas(NamedTuple):
    """How many sagas wait at a hold. `is_complete` is False if more may wait than were counted."""

    sagas: int
    is_complete: bool

    def __str__(self) -> str:
        """Return the number in words."""
        return str(self.sagas) if self.is_complete else f"at least {self.sagas}"


class SagaVersion(NamedTuple):
    """A version of a tracked row. `version` changes with every commit that changes the row.

    Each event of the timeline changes the row. `decided` tells whether the condition of the caller
    holds, and `ended` whether the saga has no step left.
    """

    version: str
    decided: bool
    ended: bool


def open_steps(*sagas: UUID) -> list[OpenStep]:
    """Return the open steps of sagas, in all services that this process can reach."""
    params = {"sagas": sql.array_literal(sagas)}
    return [
        OpenStep(saga, service.name, *columns)
        for service in _services()
        for saga, *columns in sql.fetch(
            service.alias, OPEN.format(inbox=service.inbox, early=EARLY), params
        )
    ]


def failing_steps(service: str) -> list[FailingStep]:
    """Return the steps of a service that fail now. Raises `UnknownService`."""
    found = get_service(service)
    statement = FAILING.format(inbox=found.inbox)
    return [FailingStep(*row) for row in sql.fetch(found.alias, statement, {"most": COUNT_LIMIT})]


def held_behind(step: str) -> int:
    """Return how many sagas wait for the release of a hold at a step, at most `COUNT_LIMIT`."""
    service = service_of_step(step)
    params = {"step": step, "most": COUNT_LIMIT}
    [(count,)] = sql.fetch(service.alias, HELD.format(inbox=service.inbox), params)
    return int(count)


def held_by_destination(step: str) -> dict[str, HeldSagas]:
    """Return how many sagas wait at each outside system that is on hold, the most first.

    At most `COUNT_LIMIT` sagas are counted, an equal share at each of them, and at least one. The
    number says whether more may wait there. `held_behind` counts these sagas and all others that
    wait at the step.
    """
    service = service_of_step(step)
    names = {"inbox": service.inbox, "hold": service.hold}
    [(places,)] = sql.fetch(service.alias, DESTINATIONS_ON_HOLD.format(**names), {"step": step})
    share = max(1, COUNT_LIMIT // max(1, places))
    rows = sql.fetch(
        service.alias, HELD_BY_DESTINATION.format(**names), {"step": step, "most": share + 1}
    )
    return {
        name: HeldSagas(min(number, share), is_complete=number <= share) for name, number in rows
    }


def wake_up(service: str, sagas: Sequence[UUID]) -> int:
    """Let the waiting steps of sagas in a service try at once; return how many steps.

    Call it when the outside system says that it has decided, as a webhook does. Inside a
    transaction of the service's database, the steps are sent when it commits.
    """
    found = get_service(service)
    statement = WAITING.format(inbox=found.inbox)
    params = {"sagas": sql.array_literal(sagas)}
    ids = [row for (row,) in sql.fetch(found.alias, statement, params)]
    woken = inbox.make_due_now(found, ids) if ids else 0
    if woken:
        flush = partial(request_flush, service)
        transaction.on_commit(flush, using=found.alias, robust=True)
    return woken


def saga_versions(
    model: type[TrackedSaga], sagas: Sequence[UUID], *, decided: Q = HAS_ENDED
) -> dict[UUID, SagaVersion]:
    """Return the versions of tracked rows by id, in one statement. Unknown ids are missing.

    `decided` is a condition on the row, such as a final status of the domain.
    """
    rows = (
        model._base_manager.using(router.db_for_write(model))
        .filter(pk__in=sagas)
        .values_list(
            "pk",
            Func(template=XMIN, output_field=TextField()),
            ExpressionWrapper(decided, output_field=BooleanField()),
            "ended_at",
        )
    )
    return {
        saga: SagaVersion(version, is_decided, ended_at is not None)
        for saga, version, is_decided, ended_at in rows
    }


def timeline_of(model: type[TrackedSaga], saga: UUID) -> QuerySet[TimelineEvent]:
    """Return the events of a saga that `model` tracks, oldest first by the clocks of services."""
    home = get_home(model._meta.app_label)
    return home.timeline._base_manager.using(home.alias).filter(saga=saga)


def events_recorded_after(
    model: type[TrackedSaga], saga: UUID, *, after: TimelineEvent | None
) -> QuerySet[TimelineEvent]:
    """Return the events of a saga in the order of recording, after a given one if any.

    Clocks differ, and events of other services may arrive late. A reader that goes on after an
    event in this order misses none.
    """
    events = timeline_of(model, saga).order_by("recorded_at", "seq", "id")
    if after is None:
        return events
    at, seq = Q(recorded_at=after.recorded_at), Q(seq=after.seq)
    later = (
        Q(recorded_at__gt=after.recorded_at)
        | at & Q(seq__gt=after.seq)
        | at & seq & Q(id__gt=after.id)
    )
    return events.filter(later)


def is_undone(row: TrackedSaga) -> bool:
    """Tell whether a saga has ended by its abort step. Its timeline is read."""
    if row.ended_at is None or not row.plan:
        return False
    abort = msgspec.convert(row.plan, Plan).abort
    return timeline_of(type(row), row.pk).filter(step=abort).exists()


def _services() -> list[Service]:
    return [get_service(name) for name in service_names()]
