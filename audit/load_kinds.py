"""Loads the snapshots of the sagas that are no orders, a page of one kind at a time.

The order of reading is that of `audit.load`: tracked rows, timeline, messages, watermarks.
"""

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from audit.databases import DatabaseUnavailable, fetch
from audit.messages import add_messages, add_timeline, decode_plan, mark_purged
from audit.snapshot import SagaSnapshot, Tracked
from orders.models import Order
from sagas.kinds import SagaKind, all_kinds
from sagas.models import TrackedSaga
from sagas.storage.registry import get_home, get_service

__all__ = ["load_sagas", "load_some", "other_kinds"]

PAGE = 2_000

TRACKED = """
SELECT {key}, plan::text, created_at, ended_at IS NOT NULL
  FROM {tracked}
 WHERE (%(after)s::uuid IS NULL OR {key} > %(after)s::uuid) AND created_at <= %(until)s
 ORDER BY {key} LIMIT %(limit)s
"""

BY_ID = """
SELECT {key}, plan::text, created_at, ended_at IS NOT NULL
  FROM {tracked} WHERE {key} = ANY(%(sagas)s::uuid[]) ORDER BY {key}
"""


def other_kinds() -> list[SagaKind]:
    """Return the kinds of sagas besides orders."""
    return [kind for kind in all_kinds() if kind.model is not Order]


def load_sagas(kind: SagaKind, *, unsent_after: float) -> Iterator[list[SagaSnapshot]]:
    """Yield the snapshots of all sagas of a kind that exist now, in pages."""
    alias = get_home(kind.home).alias
    [(until,)] = fetch(alias, "SELECT statement_timestamp()")
    after: UUID | None = None
    while page := _tracked(kind, TRACKED, {"after": after, "until": until, "limit": PAGE}):
        yield _load_page(kind, page, unsent_after=unsent_after)
        after = page[-1].id


def load_some(kind: SagaKind, ids: Sequence[UUID], *, unsent_after: float) -> list[SagaSnapshot]:
    """Return the snapshots of some sagas of a kind. Ids of no such saga are left out."""
    page = _tracked(kind, BY_ID, {"sagas": list(ids)})
    return _load_page(kind, page, unsent_after=unsent_after) if page else []


def _tracked(kind: SagaKind, statement: str, params: Mapping[str, object]) -> list[Tracked]:
    query = statement.format(key=kind.key, tracked=kind.table)
    rows = fetch(get_home(kind.home).alias, query, params)
    return [
        Tracked(saga, decode_plan(plan), created_at, ended)
        for saga, plan, created_at, ended in rows
    ]


def _load_page(
    kind: SagaKind, page: Sequence[Tracked], *, unsent_after: float
) -> list[SagaSnapshot]:
    rows = _rows(kind, [each.id for each in page])
    snapshots = {each.id: SagaSnapshot(each, kind=kind, tracked=rows.get(each.id)) for each in page}
    names = {name for each in page for name in each.plan.services()}
    services = [get_service(name) for name in sorted(names)]

    add_timeline(snapshots, get_home(kind.home))
    add_messages(snapshots, services, unsent_after=unsent_after)
    mark_purged(snapshots.values(), services, home=kind.home)
    return list(snapshots.values())


def _rows(kind: SagaKind, sagas: Sequence[UUID]) -> dict[UUID, TrackedSaga]:
    """Return the rows of the domain's model, if the domain has invariants that read them."""
    if type(kind).violations is SagaKind.violations:
        return {}
    try:
        return {row.pk: row for row in kind.rows().filter(pk__in=sagas)}
    except (DatabaseError, InterfaceError) as error:
        raise DatabaseUnavailable(get_home(kind.home).alias, error) from error
