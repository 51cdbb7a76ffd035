"""Lists sagas of all homes and kinds, the newest first, in pages.

Each home is asked by itself. The pages follow the ids, which are in the order of the starts,
because `TrackedSaga` makes them with `uuid7`. So each page reads the primary keys, and is complete
although several homes and kinds are merged.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from sagas import sql
from sagas.definition.plan import service_name
from sagas.operations import holds
from sagas.operations.table_stats import COUNT_LIMIT
from sagas.storage.registry import (
    Home,
    Service,
    UnknownService,
    get_home,
    get_service,
    home_names,
    service_names,
)
from sagas.storage.signals import EARLY

__all__ = ["AtStep", "ListedSaga", "SagaFilter", "SagaPage", "list_sagas"]

LISTED = """
SELECT s.id, s.plan->>'saga', s.created_at, s.ended_at, s.needs_attention, s.redrives,
       s.waits_until, s.ended_at IS NULL AND {on_hold},
       s.ended_at IS NULL AND (s.redrives > 0 OR s.rescue_at <= now()) AND NOT {on_hold}
  FROM {tracked} s
 WHERE {conditions}
 ORDER BY s.id DESC LIMIT %(limit)s
"""

# Sagas with an open inbox row of a step. Each state has an index, of `send_at` or of the step.
# A wait that has only got an early signal has not begun.
OPEN_AT_STEP = """
SELECT saga FROM {inbox} i
 WHERE state IN ('started', 'waiting') AND step = %(step)s AND NOT ({early})
 UNION ALL
SELECT saga FROM {inbox} WHERE state = 'held' AND step = %(step)s
 LIMIT %(most)s
"""

# Sagas whose message to a step no relay has sent yet.
UNSENT_TO_STEP = """
SELECT saga FROM {outbox} WHERE published_at IS NULL AND target = %(step)s LIMIT %(most)s
"""

OPEN_STEPS = """
SELECT saga, step, state, attempts, send_at FROM {inbox} i
 WHERE saga = ANY(%(sagas)s::uuid[]) AND state IN ('started', 'waiting', 'held') AND NOT ({early})
 ORDER BY saga, id
"""

# A condition for each filter that is a yes or no.
FLAGS = {
    "open": "s.ended_at IS NULL",
    "ended": "s.ended_at IS NOT NULL",
    "stalled": "s.ended_at IS NULL AND (s.redrives > 0 OR s.rescue_at <= now()) AND NOT {on_hold}",
    "needs_attention": "s.needs_attention",
    "on_hold": "s.ended_at IS NULL AND {on_hold}",
    "waiting": "s.ended_at IS NULL AND s.waits_until > now()",
}


class SagaFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The sagas to list. An unset filter takes all of them.

    `flags` are names of `FLAGS`, which must all be true. `kind` is the name of the saga or of its
    model. `step`: the saga is at this step now. `below`: only ids below this one, so the next page.
    """

    home: str = ""
    kind: str = ""
    flags: tuple[str, ...] = ()
    step: str = ""
    started_after: datetime | None = None
    started_before: datetime | None = None
    below: UUID | None = None
    limit: int = 50


class AtStep(msgspec.Struct, frozen=True, kw_only=True):
    """An open step of a listed saga, and the time of its next attempt."""

    step: str
    state: str
    attempts: int
    due_at: datetime | None


class ListedSaga(msgspec.Struct, frozen=True, kw_only=True):
    """A saga of the list. `steps` are its open steps in the services that answered."""

    id: UUID
    home: str
    kind: str
    saga: str
    started_at: datetime
    ended_at: datetime | None
    needs_attention: bool
    redrives: int
    waits_until: datetime | None
    on_hold: bool
    stalled: bool
    steps: list[AtStep] = []


class SagaPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of sagas, the newest first.

    `next` is the `below` of the next page, or None. `unknown` names the services that did not
    answer: their sagas or steps may be missing. `is_partial`: more sagas are at the step than
    `COUNT_LIMIT`, and the list has only some of them.
    """

    sagas: list[ListedSaga]
    next: UUID | None
    unknown: list[str]
    is_partial: bool = False


def list_sagas(wanted: SagaFilter) -> SagaPage:
    """Return a page of sagas. Raises LookupError for an unknown home."""
    homes = [get_home(wanted.home)] if wanted.home else [get_home(name) for name in home_names()]
    unknown: set[str] = set()
    at_step = _at_step(wanted.step, unknown) if wanted.step else None

    found: list[ListedSaga] = []
    for home in homes:
        try:
            found += _listed(home, wanted, at_step)
        except sql.DATABASE_ERRORS:
            unknown.add(home.name)

    found.sort(key=lambda saga: saga.id, reverse=True)
    page = found[: wanted.limit]
    return SagaPage(
        sagas=_with_steps(page, unknown),
        next=page[-1].id if len(found) > wanted.limit else None,
        unknown=sorted(unknown),
        is_partial=at_step is not None and len(at_step) >= COUNT_LIMIT,
    )


def _listed(home: Home, wanted: SagaFilter, at_step: set[UUID] | None) -> Iterator[ListedSaga]:
    of_model = [kind for kind in home.kinds if wanted.kind == kind.__name__]
    name = "" if of_model else wanted.kind
    for kind in of_model or home.kinds:
        statement, params = _statement(home, kind._meta.db_table, wanted, name, at_step)
        for row in sql.fetch(home.alias, statement, params):
            yield _saga(home.name, kind.__name__, row)


def _statement(
    home: Home, table: str, wanted: SagaFilter, name: str, at_step: set[UUID] | None
) -> tuple[str, dict[str, Any]]:
    on_hold = holds.is_on_hold(home)
    params: dict[str, Any] = {
        "name": name,
        "after": wanted.started_after,
        "before": wanted.started_before,
        "below": wanted.below,
        "sagas": sql.array_literal(at_step or ()),
        "limit": wanted.limit + 1,
    }
    conditions = [FLAGS[flag].format(on_hold=on_hold) for flag in wanted.flags]
    optional = {
        "s.plan->>'saga' = %(name)s": name,
        "s.created_at >= %(after)s": wanted.started_after,
        "s.created_at < %(before)s": wanted.started_before,
        "s.id < %(below)s": wanted.below,
        "s.id = ANY(%(sagas)s::uuid[])": at_step is not None,
    }
    conditions += [condition for condition, value in optional.items() if value]
    statement = LISTED.format(
        tracked=table,
        on_hold=on_hold,
        conditions=" AND ".join(conditions) or "true",
    )
    return statement, params


def _saga(home: str, kind: str, row: tuple[Any, ...]) -> ListedSaga:
    key, name, started, ended, attention, redrives, waits, on_hold, stalled = row
    return ListedSaga(
        id=key,
        home=home,
        kind=kind,
        saga=name or "",
        started_at=started,
        ended_at=ended,
        needs_attention=attention,
        redrives=redrives,
        waits_until=waits,
        on_hold=on_hold,
        stalled=stalled,
    )


def _at_step(step: str, unknown: set[str]) -> set[UUID]:
    """Return the sagas at a step. Raises LookupError if no service has the step's name."""
    owner = get_service(service_name(step))
    params = {"step": step, "most": COUNT_LIMIT}
    statements = [(owner, OPEN_AT_STEP.format(inbox=owner.inbox, early=EARLY))]
    statements += [
        (service, UNSENT_TO_STEP.format(outbox=service.outbox)) for service in _services()
    ]

    sagas: set[UUID] = set()
    for service, statement in statements:
        try:
            sagas.update(saga for (saga,) in sql.fetch(service.alias, statement, params))
        except sql.DATABASE_ERRORS:
            unknown.add(service.name)
    return sagas


def _with_steps(page: list[ListedSaga], unknown: set[str]) -> list[ListedSaga]:
    """Return the sagas with their open steps."""
    steps: dict[UUID, list[AtStep]] = {}
    params = {"sagas": sql.array_literal(saga.id for saga in page if not saga.ended_at)}
    for service in _services() if page else []:
        try:
            statement = OPEN_STEPS.format(inbox=service.inbox, early=EARLY)
            rows = sql.fetch(service.alias, statement, params)
        except sql.DATABASE_ERRORS:
            unknown.add(service.name)
            continue
        for saga, step, state, attempts, due_at in rows:
            at = AtStep(step=step, state=state, attempts=attempts, due_at=due_at)
            steps.setdefault(saga, []).append(at)
    return [msgspec.structs.replace(saga, steps=steps.get(saga.id, [])) for saga in page]


def _services() -> list[Service]:
    found = []
    for name in service_names():
        try:
            found.append(get_service(name))
        except UnknownService:  # a check reports the app's missing table
            continue
    return found
