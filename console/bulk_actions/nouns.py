"""The name of the sagas of a run: that of their kind, or `sagas` for several kinds."""

import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from console.bulk_actions.action import Tile
from console.models import Run, RunItem
from console.saga_pages import find_kinds
from console.visible_kinds import kinds_of_step
from sagas.kinds import SagaKind

__all__ = ["Nouns", "find_nouns", "in_nouns", "name_sagas", "nouns_of"]

# "All sagas" are those of every kind.
SAGA = re.compile(r"(?<!\ball )\b([Ss])aga(s?)\b")


class Nouns(NamedTuple):
    """The name of one saga, and of several."""

    singular: str
    plural: str


SAGAS = Nouns("saga", "sagas")


def nouns_of(run: Run, items: Iterable[RunItem]) -> Nouns:
    """Return the name of the sagas of a run, by these items of it."""
    return find_nouns([item.order_id for item in items if item.order_id], run.step)


def find_nouns(sagas: Collection[UUID], step: str) -> Nouns:
    """Return the name of some sagas. Without any, it is that of all sagas that may have the step,
    by their homes.
    """
    if sagas:
        return _nouns(find_kinds(sagas).values())
    return _nouns(kinds_of_step(step))


def name_sagas(tile: Tile, nouns: Nouns) -> Tile:
    """Return a tile whose texts name these sagas by their kind."""
    return replace(tile, title=in_nouns(tile.title, nouns), note=in_nouns(tile.note, nouns))


def in_nouns(text: str, nouns: Nouns) -> str:
    """Return a text that names these sagas by their kind."""

    def noun(match: re.Match[str]) -> str:
        name = nouns.plural if match[2] else nouns.singular
        return name.capitalize() if match[1] == "S" else name

    return SAGA.sub(noun, text)


def _nouns(kinds: Iterable[SagaKind]) -> Nouns:
    found = set(kinds)
    if len(found) != 1:
        return SAGAS
    [kind] = found
    return Nouns(kind.singular, kind.plural)
