"""Lists in the admin that cost the same however many rows there are.

What an index finds is found among all rows, and sorted by it. Whatever else is searched or filtered
by is looked for among the newest rows, and those that are still open, which an index holds as well:
a search through millions would take seconds, and end at what nobody looks for.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

__all__ = ["BoundedPaginator", "NewestFilter", "OlderThanFilter", "ReadOnlyAdmin", "among_newest"]

# The newest rows, in which is looked for what no index finds. A twentieth of a second of work.
NEWEST = 50_000

# Of them, and of what is open, so many that match are shown.
MOST_FOUND = 10_000


def among_newest(rows: QuerySet[Any], *also: Q) -> QuerySet[Any]:
    """Keep of some rows the newest of their table, by primary key, `also` others, each of which
    an index finds.
    """
    keys = rows.model._default_manager.order_by("-pk").values_list("pk", flat=True)
    oldest = next(iter(keys[NEWEST : NEWEST + 1]), None)
    if oldest is None:
        return rows
    newest = rows.filter(pk__gt=oldest)
    if not also:
        return newest
    # Found one by one: of several conditions in one statement the planner makes a walk through all
    # rows.
    found = (newest.order_by("-pk"), *(rows.filter(others).order_by() for others in also))
    return rows.filter(
        pk__in={key for part in found for key in part.values_list("pk", flat=True)[:MOST_FOUND]}
    )


class BoundedPaginator(Paginator):
    """A paginator that counts no further than people page: a million rows must not be counted to
    show fifty.
    """

    MOST = MOST_FOUND

    @cached_property
    def count(self) -> int:
        """Return the number of rows, or MOST if there are more."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin pages nothing else
        return rows[: self.MOST].count()


class _IndexedList(ChangeList):
    """A list that is sorted by nothing but what its admin sorts by, in both directions: that has
    an index.
    """

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        asked: list[Any] = super().get_ordering(request, queryset)
        usual = [*self.model_admin.get_ordering(request)]
        if _names(asked[:1]) != _names(usual[:1]):
            self.params.pop(ORDER_VAR, None)
            asked = super().get_ordering(request, queryset)
        return asked


class ReadOnlyAdmin(ModelAdmin):
    """A page that shows rows and offers actions, but no editing."""

    show_full_result_count = False
    paginator = BoundedPaginator
    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list, which sorts by what is indexed."""
        return _IndexedList

    def get_sortable_by(self, request: HttpRequest) -> list[str]:
        """Offer to sort by what the list is sorted by anyway."""
        usual = _names(self.get_ordering(request))
        shown = [str(name) for name in self.get_list_display(request)]
        return [
            name
            for name in shown
            if getattr(getattr(self, name, None), "admin_order_field", name) in usual
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody edits."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes."""
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return whether this user may run the actions of the page: the model's change
        permission.
        """
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")


class OlderThanFilter(admin.SimpleListFilter):
    """Rows that were written some time ago and are still open: `open_rows`, which an index
    holds, says what that is.
    """

    title = "open for longer than"
    parameter_name = "older"
    open_rows: ClassVar[Q]
    spans: ClassVar = {
        "1m": ("a minute", timedelta(minutes=1)),
        "5m": ("five minutes", timedelta(minutes=5)),
        "15m": ("a quarter of an hour", timedelta(minutes=15)),
        "1h": ("an hour", timedelta(hours=1)),
        "1d": ("a day", timedelta(days=1)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the spans."""
        return [(key, title) for key, (title, _) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep what is open for longer than the span."""
        span = self.spans.get(self.value() or "")
        return queryset.filter(self.open_rows, created_at__lt=Now() - span[1]) if span else queryset


class NewestFilter(admin.ChoicesFieldListFilter):
    """A filter by a column that has no index: among the newest rows."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows that have the value."""
        found: Any = super().queryset(request, queryset)
        return among_newest(found) if self.used_parameters else found


def _names(ordering: Sequence[Any]) -> list[str]:
    return [str(field).removeprefix("-") for field in ordering]
