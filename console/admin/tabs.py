"""The tabs above a list of sagas: the ones that need attention, the open ones, and all."""

from typing import Any, NamedTuple

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from sagas.admin.changelist import BoundedPaginator
from sagas.kinds import SagaKind

__all__ = ["ShownFilter", "Tab", "tabs_of"]

ATTENTION = "needs_attention__exact"
SHOWN = "show"


class Tab(NamedTuple):
    """A tab. `number` is how many sagas it holds, or None where they are not counted."""

    name: str
    title: str
    link: str
    active: bool
    number: int | None


class ShownFilter(admin.SimpleListFilter):
    """Open sagas, or all."""

    title = "show"
    parameter_name = SHOWN

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both."""
        return [("open", "open"), ("all", "all")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the sagas that have not ended."""
        return queryset.filter(ended_at=None) if self.value() == "open" else queryset


def tabs_of(request: HttpRequest, kind: SagaKind) -> list[Tab]:
    """Return the tabs, with numbers counted by index and only up to the paginator's limit."""
    wanted = request.GET
    attention = wanted.get(ATTENTION) == "1"
    open_ = wanted.get(SHOWN) == "open" and not attention
    needing = kind.rows().filter(needs_attention=True, ended_at=None)
    return [
        _tab(kind, "attention", "Need attention", f"{ATTENTION}=1", attention, needing),
        _tab(kind, "open", "Open", f"{SHOWN}=open", open_, kind.rows().filter(ended_at=None)),
        _tab(kind, "all", "All", f"{SHOWN}=all", not attention and not open_, None),
    ]


def _tab(
    kind: SagaKind, name: str, title: str, query: str, active: bool, rows: QuerySet[Any] | None
) -> Tab:
    number = None if rows is None else rows[: BoundedPaginator.MAX_COUNT].count()
    return Tab(name, title, f"{kind.list_page}?{query}", active, number)
