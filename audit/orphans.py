"""Sagas, such as orders, that other tables name and no home has."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from audit.databases import fetch
from sagas.kinds import all_kinds
from sagas.storage.registry import get_home

__all__ = ["Orphans", "find_orphans"]

EXISTING = "SELECT {key} FROM {tracked} WHERE {key} = ANY(%(sagas)s::uuid[])"


class Orphans(NamedTuple):
    """Ids that other tables name and no home has.

    `checked`: how many distinct ids were looked up.
    """

    checked: int
    ids: list[UUID]


def find_orphans(pages: Iterable[list[UUID]]) -> Orphans:
    """Return the ids of no saga, of any kind, in any home.

    Sagas are looked up last, because one is committed before another service can name it.
    """
    checked: int = 0
    missing: list[UUID] = []
    for ids in pages:
        checked += len(ids)
        missing += _without_saga(ids)
    return Orphans(checked, missing)


def _without_saga(ids: list[UUID]) -> list[UUID]:
    missing = ids
    for kind in all_kinds():
        if missing:
            statement = EXISTING.format(key=kind.key, tracked=kind.table)
            rows = fetch(get_home(kind.home).alias, statement, {"sagas": missing})
            existing = {saga for (saga,) in rows}
            missing = [saga for saga in missing if saga not in existing]
    return missing
