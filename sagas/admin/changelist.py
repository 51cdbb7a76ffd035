"""Changelists that cost the same for any number of rows.

A search or filter that has an index finds all rows, sorted by that index. Any other search or
filter covers only the newest rows and the open rows, which have an index too. A scan of millions of
rows would take seconds, and mostly find rows that no operator looks for.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import options
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property

__all__ = [
    "BoundedPaginator",
    "KnownRowsAdmin",
    "NewestFilter",
    "OlderThanFilter",
    "ReadOnlyAdmin",
    "among_newest",
]

# The number of newest rows that a filter without an index covers. A twentieth of a second of work.
NEWEST = 50_000

# At most this many matches are shown of the newest rows, and of each kind of open rows.
MAX_FOUND = 10_000

# The field with the action on the page of one row.
FORM_ACTION = "CHANGE_FORM-action"

# Characters that a refusal repeats of the names of actions.
MOST_NAMES = 200


def among_newest(rows: QuerySet[Any], *indexed: Q) -> QuerySet[Any]:
    """Restrict a query to the newest rows of its table, by primary key.

    `indexed`: conditions with an index. Rows that satisfy one of them are kept, too.
    """
    keys = rows.model._default_manager.order_by("-pk").values_list("pk", flat=True)
    oldest = next(iter(keys[NEWEST : NEWEST + 1]), None)
    if oldest is None:
        return rows

    newest = rows.filter(pk__gt=oldest)
    if not indexed:
        return newest

    # One statement for each condition, because the planner scans the table for several at once.
    parts = [newest.order_by("-pk"), *(rows.filter(condition).order_by() for condition in indexed)]
    matches = {key for part in parts for key in part.values_list("pk", flat=True)[:MAX_FOUND]}
    return rows.filter(pk__in=matches)


class BoundedPaginator(Paginator):
    """A paginator that counts at most `MAX_COUNT` rows, because counting a million is slow."""

    MAX_COUNT = MAX_FOUND

    @cached_property
    def count(self) -> int:
        """The number of rows, or `MAX_COUNT` if there are more."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # always a queryset in the admin
        return rows[: self.MAX_COUNT].count()


def _check_offered(
    request: HttpRequest, field: str, offered: Callable[[], Collection[str]]
) -> None:
    chosen = set(request.POST.getlist(field)) - {""}
    if chosen and (not_offered := chosen - set(offered())):
        names = ", ".join(sorted(not_offered))[:MOST_NAMES]
        raise PermissionDenied(f"This page does not offer you the action {names}.")


class _IndexedOrdering(ChangeList):
    """A changelist that sorts by its default ordering only, up or down, because it has an index."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        requested: list[Any] = super().get_ordering(request, queryset)
        default = [*self.model_admin.get_ordering(request)]
        if _names(requested[:1]) == _names(default[:1]):
            return requested

        self.params.pop(ORDER_VAR, None)
        ordering: list[Any] = super().get_ordering(request, queryset)
        return ordering


@cache
def _indexed(base: Any) -> type[ChangeList]:
    """Return the changelist of a theme, or Django's own, with the indexed ordering."""
    return type("IndexedList", (_IndexedOrdering, base), {})


class KnownRowsAdmin(admin.ModelAdmin):
    """An admin that answers malformed ids with a message. Django fails with a server error.

    It refuses actions that the page does not offer to the user. Django ignores them.
    """

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, or run an action. Raises PermissionDenied for an action not offered."""
        _check_offered(request, "action", lambda: self.get_actions(request))
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show or save the row, or run an action, which Django offers here from release 6.1 on.

        Raises PermissionDenied for an action not offered.
        """
        _check_offered(request, FORM_ACTION, lambda: self._actions_of_form(request))
        response: HttpResponse = super().changeform_view(
            request, object_id, form_url, extra_context
        )
        return response

    def _actions_of_form(self, request: HttpRequest) -> dict[str, Any]:
        location = getattr(options, "ActionLocation", None)
        if location is None:
            return {}
        where: dict[str, Any] = {"action_location": location.CHANGE_FORM}
        actions: dict[str, Any] = self.get_actions(request, **where)
        return actions

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Run the action, unless a selected id cannot be one of this table."""
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if all(_is_key(self.opts.pk, value) for value in selected):
            return super().response_action(request, *args, **kwargs)
        self.message_user(
            request,
            "A selected row has an invalid id, so nothing was done. Reload the list and select"
            " again.",
            messages.ERROR,
        )
        return HttpResponseRedirect(request.get_full_path())

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return the row of an id, or None if there is none."""
        if from_field is None and not _is_key(self.opts.pk, object_id):
            return None
        return super().get_object(request, object_id, from_field)


class ReadOnlyAdmin(KnownRowsAdmin):
    """An admin that shows rows and offers actions, but never adds, edits or deletes a row."""

    show_full_result_count = False
    paginator = BoundedPaginator
    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the changelist that sorts by indexed columns only."""
        base: Any = super().get_changelist(request, **kwargs)  # a theme may have its own
        return _indexed(base)

    def get_sortable_by(self, request: HttpRequest) -> list[Any]:
        """Offer to sort by the columns of the default ordering only."""
        default = _names(self.get_ordering(request))
        shown = [str(name) for name in self.get_list_display(request)]
        return [
            name
            for name in shown
            if getattr(getattr(self, name, None), "admin_order_field", name) in default
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse to add."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse to edit."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse to delete."""
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this user may run the page's actions, by the model's change permission."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")


class OlderThanFilter(admin.SimpleListFilter):
    """Rows that have been open for some time. `open_rows`: the condition, which has an index."""

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
        """Return the durations to choose from."""
        return [(key, title) for key, (title, _) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows that have been open for longer than the chosen duration."""
        span = self.spans.get(self.value() or "")
        if span is None:
            return queryset
        return queryset.filter(self.open_rows, created_at__lt=Now() - span[1])


class NewestFilter(admin.ChoicesFieldListFilter):
    """A filter by a column without an index. It covers the newest rows only."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the newest rows with the chosen value."""
        found: Any = super().queryset(request, queryset)
        return among_newest(found) if self.used_parameters else found


def _is_key(field: Any, value: str) -> bool:
    """Tell whether a text can be a value of a primary key."""
    try:
        field.run_validators(field.to_python(value))
    except (ValidationError, ValueError, OverflowError):
        return False
    return "\0" not in value


def _names(ordering: Sequence[Any]) -> list[str]:
    return [str(field).removeprefix("-") for field in ordering]
