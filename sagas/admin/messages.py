"""The admin of a service's outbox and inbox: what was sent, what was received, what waits, and why.

Base classes; each domain app registers them for its own tables. Rows are evidence: nobody adds,
edits or deletes one.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.decorators import display

from sagas.admin.changelist import ReadOnlyAdmin, among_newest
from sagas.admin.filters import (
    HELD,
    OPEN,
    UNSENT,
    OpenForFilter,
    PublicationFilter,
    StateFilter,
    StepFilter,
    UnsentForFilter,
)
from sagas.admin.formatting import age
from sagas.delivery.wakeup import request_flush
from sagas.storage import inbox, outbox
from sagas.storage.registry import get_home, get_service, home_names

__all__ = ["InboxAdmin", "OutboxAdmin", "preformatted"]

# The theme's colours by what a state means to an operator.
PUBLICATION = {
    "published": "success",
    "due": "info",
    "being sent": "info",
    "failed to send": "danger",
}
STATES = {
    "done": "success",
    "refused": "primary",
    "barred": "primary",
    "given up": "danger",
    "started": "info",
    "waiting": "warning",
    "held": "warning",
    "keeps failing": "danger",
    "parked": "danger",
}


def preformatted(text: str) -> SafeString:
    """Show text as it is, every line of it."""
    return format_html(
        '<pre class="whitespace-pre-wrap break-words font-mono text-xs">{}</pre>', text
    )


class _MessageAdmin(ReadOnlyAdmin):
    word_fields: tuple[str, ...] = ()
    error_field = ""
    open_rows: ClassVar[Sequence[Q]] = ()
    payloads: ClassVar[Sequence[str]] = ()
    search_fields = ("saga",)  # shows the box; the search itself is below

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by saga where the term is an id; else, of what is open or new, by a name's
        beginning or in the error.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(saga=UUID(term)), False
        except ValueError:
            found = Q(**{f"{self.error_field}__icontains": term})
            for field in self.word_fields:
                found |= Q(**{f"{field}__startswith": term})
            return among_newest(queryset.filter(found), *self.open_rows), False

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Show the payloads laid out, below the plain columns."""
        plain = [field.name for field in self.opts.fields if field.name not in self.payloads]
        return [*plain, *map(_laid_out, self.payloads)]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Nothing is to be edited."""
        return self.get_fields(request, obj)

    @admin.display(description="saga")
    def whole(self, row: Any) -> SafeString:
        """Link to the page of the row's saga, where there is one."""
        homes = [get_home(name).tracked for name in home_names()]
        options = next(
            (model._meta for model in homes if self.admin_site.is_registered(model)), None
        )
        if options is None:
            return format_html("{}", row.saga)
        page = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.saga])
        return format_html('<a class="underline" href="{}">{}</a>', page, row.saga)

    @admin.display(description="written")
    def written(self, row: Any) -> str:
        """Say how old the row is."""
        return age(row.created_at)


def _laid_out(column: str) -> Callable[[Any], SafeString]:
    @admin.display(description=column)
    def laid_out(row: Any) -> SafeString:
        return preformatted(
            json.dumps(getattr(row, column), indent=2, ensure_ascii=False, sort_keys=True)
        )

    return laid_out


class OutboxAdmin(_MessageAdmin):
    """A service's outbox: its events, where each goes next, and whether it was sent."""

    list_display = (
        "type",
        "whole",
        "state",
        "step",
        "target",
        "written",
        "next_try",
        "attempts",
        "last_error",
    )
    list_filter = (PublicationFilter, UnsentForFilter, StepFilter)
    payloads = ("data", "context", "plan", "headers")
    search_help_text = (
        "Order id, the beginning of an event, a step or a target, or words of the error."
    )
    word_fields = ("type", "step", "target")
    error_field = "last_error"
    open_rows = (UNSENT,)
    ordering = ("-id",)
    actions = ("publish_again",)

    @display(description="state", label=PUBLICATION)
    def state(self, row: Any) -> str:
        """Say whether the row was sent."""
        if row.published_at:
            return "published"
        if row.last_error:
            return "failed to send"
        return "due" if row.due_at <= timezone.now() else "being sent"

    @admin.display(description="next try")
    def next_try(self, row: Any) -> str:
        """Say when a relay takes the row, unless it was sent."""
        return "–" if row.published_at else age(row.due_at)

    @admin.action(description="Publish again", permissions=("operate",))
    def publish_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Make the rows due again and nudge the relay. Receivers that did the step stay silent."""
        service = get_service(self.opts.app_label)
        rearmed = outbox.republish(service, ids=list(queryset.values_list("id", flat=True)))
        request_flush(service.name)
        self.message_user(request, f"{rearmed} due for publishing again.", messages.SUCCESS)


class InboxAdmin(_MessageAdmin):
    """A service's inbox: what became of each step of each saga here."""

    list_display = (
        "step",
        "whole",
        "outcome",
        "attempts",
        "short_error",
        "written",
        "next_try",
        "moved",
    )
    list_filter = (StateFilter, OpenForFilter, StepFilter)
    payloads = ("message",)
    search_help_text = "Order id, the beginning of a step, or words of the error."
    word_fields = ("step",)
    error_field = "error"
    open_rows = (OPEN, HELD)
    ordering = ("-id",)
    actions = ("try_now",)

    @display(description="state", label=STATES)
    def outcome(self, row: Any) -> str:
        """Say what became of the step, and whether it is dead: parked, failing again and again,
        given up.
        """
        tired = row.attempts >= settings.SAGA_STEP_ATTEMPTS
        match row.state:
            case "waiting" if row.send_at is None:
                return "parked"
            case "waiting" if tired:
                return "keeps failing"
            case "refused" if not row.attempts:
                return "barred"
            case "refused" if tired:
                return "given up"
        return str(row.state)

    @admin.display(description="error")
    def short_error(self, row: Any) -> str:
        """Show the beginning of the error; the row's page has all of it."""
        return Truncator(row.error).chars(80)

    @admin.display(description="moved")
    def moved(self, row: Any) -> str:
        """Say how long ago the row last changed."""
        return age(row.updated_at)

    @admin.display(description="next try")
    def next_try(self, row: Any) -> str:
        """Say when the service sends an open step to itself again."""
        return age(row.send_at)

    @admin.action(description="Try again now", permissions=("operate",))
    def try_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Bring the next try of open steps forward to now; done and refused ones are final."""
        service = get_service(self.opts.app_label)
        brought = inbox.make_due_now(service, list(queryset.values_list("id", flat=True)))
        request_flush(service.name)
        self.message_user(request, f"{brought} steps are tried again now.", messages.SUCCESS)
