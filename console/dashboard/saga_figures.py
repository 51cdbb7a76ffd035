"""The open sagas of each kind, as the start page and the menu count them.

Left out are the kinds that a part of the project shows: `console.dashboard.parts`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from django.urls import reverse

from console.dashboard.parts import covered
from console.partial_reader import PartialReader
from sagas.kinds import SagaKind, all_kinds
from sagas.operations.table_stats import SagaStats, kind_stats
from sagas.storage.registry import get_home

__all__ = [
    "KindFigures",
    "SagaFigures",
    "attention_page",
    "other_kinds",
    "read_figures",
    "read_home",
]


@dataclass(frozen=True, kw_only=True)
class KindFigures:
    """The open sagas of one kind."""

    kind: SagaKind
    stats: SagaStats

    @property
    def attention_page(self) -> str:
        """Return the address of the list of the sagas that need attention."""
        return f"{self.kind.list_page}?needs_attention__exact=1"

    @property
    def open_page(self) -> str:
        """Return the address of the list of the open ones."""
        return f"{self.kind.list_page}?show=open"


@dataclass(frozen=True, kw_only=True)
class SagaFigures:
    """The figures of these kinds. `unreachable` names the homes without an answer."""

    kinds: list[KindFigures]
    unreachable: list[str]

    def needing_attention(self, name: str) -> str:
        """Return how many sagas of a kind need attention, a question mark, or nothing for none."""
        for found in self.kinds:
            if found.kind.name == name:
                return str(found.stats.needing_attention or "")
        return "?"


def other_kinds() -> list[SagaKind]:
    """Return the kinds that no part of the project shows."""
    shown = covered()
    return [kind for kind in all_kinds() if kind not in shown]


def read_figures() -> SagaFigures:
    """Read the figures, in one statement for each home."""
    reader = PartialReader()
    kinds = [
        figures
        for home in sorted({kind.home for kind in other_kinds()})
        for figures in reader.read(home, partial(read_home, home))
    ]
    return SagaFigures(kinds=kinds, unreachable=reader.unreachable)


def read_home(home: str) -> Iterable[KindFigures]:
    """Read the figures of the kinds of one home. Raises the errors of its database."""
    stats = kind_stats(get_home(home))
    return [
        KindFigures(kind=kind, stats=stats[kind.table])
        for kind in other_kinds()
        if kind.home == home
    ]


def attention_page(kinds: Iterable[KindFigures], shown: Sequence[SagaKind]) -> str:
    """Return the address of the sagas that need attention: of one kind, or of all.

    `shown`: the kinds of the parts of the project.
    """
    if len(shown) != 1 or any(found.stats.needing_attention for found in kinds):
        return reverse("console:sagas")
    return f"{shown[0].list_page}?needs_attention__exact=1"
