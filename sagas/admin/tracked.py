"""The admin of tracked sagas: one list for each kind, with the columns that its domain adds.

Register it for a model of tracked rows: `admin.site.register(Order, SagaAdmin)`. Rows cannot be
added, edited or deleted, because the engine writes them.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from sagas.admin.changelist import OlderThanFilter, ReadOnlyAdmin
from sagas.admin.facts import fact_in_html
from sagas.admin.formatting import age
from sagas.kinds import Fact, SagaKind, kind_of

__all__ = ["SagaAdmin", "SagaOlderThan", "StatusFilter"]

# The attribute of a listed row with its facts.
FACTS = "_facts_of_row"


class SagaOlderThan(OlderThanFilter):
    """Sagas that are older than some time and still open."""

    open_rows = Q(ended_at=None)


class StatusFilter(admin.SimpleListFilter):
    """Sagas of a status, for a kind that names its statuses."""

    title = "status"
    parameter_name = "status__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer every status of the kind."""
        return list(model_admin.kind.statuses.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the sagas of the status."""
        kind, status = kind_of(queryset.model), self.value() or ""
        return kind.with_status(queryset, status) if status in kind.statuses else queryset


class SagaAdmin(ReadOnlyAdmin):
    """The sagas of one kind."""

    list_display: Any = (
        "pk",
        "saga",
        "status",
        "facts",
        "attention",
        "started",
        "open_since",
    )
    list_filter: ClassVar[Any] = (StatusFilter, "needs_attention", SagaOlderThan)
    ordering = ("-pk",)
    search_fields = ("pk",)  # shows the search box; see get_search_results

    @property
    def kind(self) -> SagaKind:
        """Return the description of these sagas."""
        return kind_of(self.model)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by id if the term is one, else as the domain does. Both use an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(term)), False
        except ValueError:
            return self.kind.search(queryset, term), False

    @admin.display(description="saga")
    def saga(self, row: Any) -> str:
        """Show the name of the declared saga."""
        return str(row.plan.get("saga", ""))

    @admin.display(description="status")
    def status(self, row: Any) -> str:
        """Show the status."""
        return self.kind.status(row)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Return the columns, with one for each fact that the domain wants as a column."""
        shown = list(super().get_list_display(request))
        if "facts" not in shown:
            return shown
        place = shown.index("facts")
        shown[place:place] = map(self._column, self.kind.columns)
        return shown

    @admin.display(description="details", empty_value="")
    def facts(self, row: Any) -> SafeString:
        """Show the facts of the domain that have no column of their own."""
        facts = [fact for fact in self._facts_of(row) if fact.label not in self.kind.columns]
        shown = ((fact.label, fact_in_html(fact)) for fact in facts)
        return format_html_join(", ", "{} {}", shown)

    @admin.display(description="attention", empty_value="")
    def attention(self, row: Any) -> str | None:
        """Mark a saga that needs attention."""
        return "needs attention" if row.needs_attention else None

    @admin.display(description="started (UTC)", ordering="pk")
    def started(self, row: Any) -> str:
        """Show the time of the start."""
        return f"{row.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="open since", empty_value="")
    def open_since(self, row: Any) -> str | None:
        """Show the age of an open saga."""
        return None if row.ended_at else age(row.created_at)

    def _facts_of(self, row: Any) -> Sequence[Fact]:
        """Return the facts of a row, which its columns share. A page reads its rows anew."""
        if not hasattr(row, FACTS):
            setattr(row, FACTS, self.kind.facts(row))
        facts: Sequence[Fact] = getattr(row, FACTS)
        return facts

    def _column(self, label: str) -> Callable[[Any], SafeString]:
        """Return a column of the list: one fact of each saga."""

        @admin.display(description=label, empty_value="")
        def column(row: Any) -> SafeString:
            found = (fact for fact in self._facts_of(row) if fact.label == label)
            return fact_in_html(next(found, Fact(label, "")))

        return column
