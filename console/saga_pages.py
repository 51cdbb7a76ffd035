"""Finds the kinds of sagas by their ids alone, because failures and holds have only ids."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.partial_reader import PartialReader
from sagas.admin.facts import fact_in_html, fact_text, linked
from sagas.kinds import Fact, SagaKind, get_kind, locate
from staff.policy import may_view

__all__ = ["KindCount", "count_by_kind", "find_kinds", "link_of_fact", "saga_link"]


class KindCount(NamedTuple):
    """How many sagas of one kind there are among some. `kind` is None for those of no home."""

    kind: SagaKind | None
    number: int

    @property
    def noun(self) -> str:
        """Return the name of these sagas, in the singular or the plural."""
        if self.kind is None:
            return "saga" if self.number == 1 else "sagas"
        return self.kind.singular if self.number == 1 else self.kind.plural


def find_kinds(sagas: Iterable[UUID], reader: PartialReader | None = None) -> dict[UUID, SagaKind]:
    """Return the kind of each saga that exists in a home that answers.

    See `sagas.kinds.locate`.
    """
    return locate(sagas, (reader or PartialReader()).read)


def saga_link(saga: UUID, kind: SagaKind | None) -> SafeString:
    """Return a link to the page of a saga; its id alone if no home has it."""
    if kind is None:
        return format_html("{}", saga)
    return linked(kind.page(saga), saga)


def count_by_kind(sagas: Iterable[UUID], kinds: Mapping[UUID, SagaKind]) -> list[KindCount]:
    """Count sagas by kind, the most first."""
    counts = Counter(kinds.get(saga) for saga in sagas)
    return [KindCount(kind, number) for kind, number in counts.most_common()]


def link_of_fact(fact: Fact, user: User | AnonymousUser) -> SafeString:
    """Return the value of a fact, as a link if it has one to a page that the user may view."""
    if fact.link is None or isinstance(fact.link, str):
        return fact_in_html(fact)
    kind = get_kind(fact.link.kind)
    if kind is None or not may_view(user, kind):
        return fact_in_html(fact)
    return linked(kind.page(fact.link.saga), fact_text(fact.value))
