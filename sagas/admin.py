"""The admin of a service's outbox and inbox: what was sent, what was received, what waits, and why.

Base classes; each domain app registers them for its own tables. Rows are evidence: nobody adds, edits or deletes one.
"""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.admin import ModelAdmin
from unfold.decorators import display

from sagas import inbox, outbox
from sagas.nudge import nudge
from sagas.services import home_called, home_names, service_called
from sagas.wording import age

__all__ = [
    "BoundedPaginator",
    "InboxAdmin",
    "OlderThanFilter",
    "OutboxAdmin",
    "ReadOnlyAdmin",
    "preformatted",
]

# The theme's colours by what a state means to an operator.
PUBLICATION = {"published": "success", "due": "info", "being sent": "info", "failed to send": "danger"}
STATES = {
    "done": "success",
    "refused": "primary",
    "started": "info",
    "waiting": "warning",
    "held": "warning",
    "parked": "danger",
}


def preformatted(text: str) -> SafeString:
    """Show text as it is, every line of it."""
    return format_html('<pre class="whitespace-pre-wrap break-words font-mono text-xs">{}</pre>', text)


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
    payloads: ClassVar[Sequence[str]] = ()
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

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Show the payloads laid out, below the plain columns."""
        plain = [field.name for field in self.opts.fields if field.name not in self.payloads]
        return [*plain, *map(_laid_out, self.payloads)]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Nothing is to be edited."""
        return self.get_fields(request, obj)

    @admin.display(description="saga", ordering="saga")
    def whole(self, row: Any) -> SafeString:
        """Link to the page of the row's saga, where there is one."""
        homes = [home_called(name).tracked for name in home_names()]
        options = next((model._meta for model in homes if self.admin_site.is_registered(model)), None)
        if options is None:
            return format_html("{}", row.saga)
        page = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.saga])
        return format_html('<a class="underline" href="{}">{}</a>', page, row.saga)

    @admin.display(description="written", ordering="created_at")
    def written(self, row: Any) -> str:
        """Say how old the row is."""
        return age(row.created_at)


def _laid_out(column: str) -> Callable[[Any], SafeString]:
    @admin.display(description=column)
    def laid_out(row: Any) -> SafeString:
        return preformatted(json.dumps(getattr(row, column), indent=2, ensure_ascii=False, sort_keys=True))

    return laid_out


class OlderThanFilter(admin.SimpleListFilter):
    """Rows that were written some time ago and before."""

    title = "older than"
    parameter_name = "older"
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
        """Keep what is older than the span."""
        span = self.spans.get(self.value() or "")
        return queryset.filter(created_at__lt=Now() - span[1]) if span else queryset


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

    list_display = ("type", "whole", "state", "step", "target", "written", "next_try", "attempts", "last_error")
    list_filter = (_PublicationFilter, OlderThanFilter, "type", "target")
    payloads = ("data", "context", "plan", "headers")
    word_fields = ("type", "step")
    ordering = ("-created_at",)
    actions = ("publish_again",)

    @display(description="state", label=PUBLICATION)
    def state(self, row: Any) -> str:
        """Say whether the row was sent."""
        if row.published_at:
            return "published"
        if row.last_error:
            return "failed to send"
        return "due" if row.due_at <= timezone.now() else "being sent"

    @admin.display(description="next try", ordering="due_at")
    def next_try(self, row: Any) -> str:
        """Say when a relay takes the row, unless it was sent."""
        return "–" if row.published_at else age(row.due_at)

    @admin.action(description="Publish again", permissions=("operate",))
    def publish_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Make the rows due again and nudge the relay. Receivers that did the step stay silent."""
        service = service_called(self.opts.app_label)
        rearmed = outbox.rearm(service, ids=list(queryset.values_list("id", flat=True)))
        nudge(service.name)
        self.message_user(request, f"{rearmed} due for publishing again.", messages.SUCCESS)


class InboxAdmin(_MessageAdmin):
    """A service's inbox: what became of each step of each saga here."""

    list_display = ("step", "whole", "outcome", "attempts", "short_error", "written", "next_try", "moved")
    list_filter = ("state", OlderThanFilter, "step")
    payloads = ("message",)
    word_fields = ("step",)
    ordering = ("-id",)
    actions = ("try_now",)

    @display(description="state", label=STATES, ordering="state")
    def outcome(self, row: Any) -> str:
        """Say what became of the step; `parked` rows are open, and never tried by themselves."""
        parked = row.state == "waiting" and row.send_at is None
        return "parked" if parked else str(row.state)

    @admin.display(description="error")
    def short_error(self, row: Any) -> str:
        """Show the beginning of the error; the row's page has all of it."""
        return Truncator(row.error).chars(80)

    @admin.display(description="moved", ordering="updated_at")
    def moved(self, row: Any) -> str:
        """Say how long ago the row last changed."""
        return age(row.updated_at)

    @admin.display(description="next try", ordering="send_at")
    def next_try(self, row: Any) -> str:
        """Say when the service sends an open step to itself again."""
        return age(row.send_at)

    @admin.action(description="Try again now", permissions=("operate",))
    def try_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Bring the next try of open steps forward to now; done and refused ones are final."""
        service = service_called(self.opts.app_label)
        brought = inbox.bring_forward(service, list(queryset.values_list("id", flat=True)))
        nudge(service.name)
        self.message_user(request, f"{brought} steps are tried again now.", messages.SUCCESS)
