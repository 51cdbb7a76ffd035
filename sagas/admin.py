"""The admin of a service's outbox and inbox: what was sent, what was received, what waits, and why.

Base classes; each domain app registers them for its own tables. Rows are evidence: nobody adds, edits or deletes one.
"""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin

from sagas import inbox, outbox
from sagas.nudge import nudge
from sagas.services import service_called

__all__ = ["BoundedPaginator", "InboxAdmin", "OutboxAdmin", "ReadOnlyAdmin"]


class BoundedPaginator(Paginator):
    """A paginator that counts no further than people page: a million rows must not be counted to show fifty."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        """Return the number of rows, or MOST if there are more."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin pages nothing else
        return rows[: self.MOST].count()


class ReadOnlyAdmin(ModelAdmin):
    """A page that shows rows and offers actions, but no editing."""

    show_full_result_count = False
    paginator = BoundedPaginator
    list_per_page = 50

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
        """Return whether this user may run the actions of the page: the model's change permission."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")


class _MessageAdmin(ReadOnlyAdmin):
    search_help_text = "Order id, or the beginning of an event type or step name."
    word_fields: tuple[str, ...] = ()
    search_fields = ("saga",)  # shows the box; the search itself is below

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by saga where the term is an id, else by the beginning of a name: both use an index or little."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(saga=UUID(term)), False
        except ValueError:
            found = Q()
            for field in self.word_fields:
                found |= Q(**{f"{field}__startswith": term})
            return queryset.filter(found), False


class _PublicationFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("due", "due"), ("leased", "being sent"), ("published", "published"), ("failed", "failed to send")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "due":
                return queryset.filter(published_at=None, due_at__lte=Now())
            case "leased":
                return queryset.filter(published_at=None, due_at__gt=Now())
            case "published":
                return queryset.filter(published_at__isnull=False)
            case "failed":
                return queryset.filter(published_at=None).exclude(last_error="")
        return queryset


class OutboxAdmin(_MessageAdmin):
    """A service's outbox: its events, where each goes next, and whether it was sent."""

    list_display = ("type", "saga", "step", "target", "created_at", "due_at", "published_at", "attempts", "last_error")
    list_filter = (_PublicationFilter, "type", "target")
    word_fields = ("type", "step")
    ordering = ("-created_at",)
    actions = ("publish_again",)

    @admin.action(description="Publish again", permissions=("operate",))
    def publish_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Make the rows due again and nudge the relay. Receivers that did the step stay silent."""
        service = service_called(self.opts.app_label)
        rearmed = outbox.rearm(service, ids=list(queryset.values_list("id", flat=True)))
        nudge(service.name)
        self.message_user(request, f"{rearmed} due for publishing again.", messages.SUCCESS)


class InboxAdmin(_MessageAdmin):
    """A service's inbox: what became of each step of each saga here."""

    list_display = ("step", "saga", "state", "attempts", "error", "send_at", "created_at", "updated_at")
    list_filter = ("state", "step")
    word_fields = ("step",)
    ordering = ("-id",)
    actions = ("try_now",)

    @admin.action(description="Try again now", permissions=("operate",))
    def try_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Bring the next try of open steps forward to now; done and refused ones are final."""
        service = service_called(self.opts.app_label)
        brought = inbox.bring_forward(service, list(queryset.values_list("id", flat=True)))
        nudge(service.name)
        self.message_user(request, f"{brought} steps are tried again now.", messages.SUCCESS)
