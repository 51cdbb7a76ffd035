"""The admin of a service's outbox and inbox: messages sent, steps run, and steps that wait.

These are base classes. Each domain app registers them for its own tables. Rows are evidence, so
they cannot be added, edited or deleted.
"""

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Protocol
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from sagas.admin.changelist import MAX_FOUND, ReadOnlyAdmin, among_newest
from sagas.admin.filters import (
    HELD,
    OPEN,
    PARKED_UNTIL,
    UNSENT,
    OpenForFilter,
    PublicationFilter,
    StateFilter,
    StepFilter,
    UnsentForFilter,
)
from sagas.admin.formatting import age, without_private
from sagas.definition import handlers
from sagas.delivery.wakeup import request_flush
from sagas.kinds import locate
from sagas.storage import inbox, outbox
from sagas.storage.registry import get_service

__all__ = ["KINDS", "Console", "InboxAdmin", "OutboxAdmin", "preformatted", "use_console"]


# The attribute of a listed row with the kinds of all sagas of its page.
KINDS = "_kinds_of_page"


def preformatted(text: str) -> SafeString:
    """Return HTML that shows the lines of a text as they are."""
    return format_html(
        '<pre class="whitespace-pre-wrap break-words font-mono text-xs">{}</pre>', text
    )


class Console(Protocol):
    """A console that takes over the actions of these lists, for example to ask for a reason.

    `action` is `publish` or `retry`. The console acts on whole sagas.
    """

    def is_permitted(self, request: HttpRequest, action: str) -> bool:
        """Tell whether the user may take the action."""

    def hidden(self, request: HttpRequest) -> str:
        """Return which sagas are hidden from the user, as a sentence; empty if none are."""

    def shown_steps(self, request: HttpRequest) -> Collection[str] | None:
        """Return the steps that only the other sagas have; None if the user may see all rows.

        The lists have no row of another step. So leave out a step that this release does not know:
        an old saga of any kind may have it.
        """

    def act(
        self, request: HttpRequest, action: str, sagas: Sequence[UUID]
    ) -> HttpResponseBase | None:
        """Act on the sagas of the selected rows, and return the next page if it is another."""


_consoles: list[Console] = []


def use_console(console: Console) -> None:
    """Let a console take over the actions of outbox and inbox."""
    _consoles[:] = [console]


class _MessageAdmin(ReadOnlyAdmin):
    """The search and the columns that outbox and inbox share."""

    # The name of the list's action at a console.
    console_action: ClassVar[str]
    name_fields: tuple[str, ...] = ()
    error_field = ""
    open_rows: ClassVar[Sequence[Q]] = ()
    json_fields: ClassVar[Sequence[str]] = ()
    search_fields = ("saga",)  # makes Django show the search box

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, or only those of the steps that a console shows to the user."""
        rows: QuerySet[Any] = super().get_queryset(request)
        for console in _consoles:
            shown = console.shown_steps(request)
            if shown is not None:
                rows = rows.filter(self._of_steps(shown))
        return rows

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and say which sagas it hides."""
        if (hidden := _hidden(request)) and request.method == "GET":
            self.message_user(request, hidden, messages.WARNING)
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find rows by saga if the term is an id, else by the start of a name or by the error.

        The latter search covers only the open and the newest rows. So does the list of a user from
        whom some rows are hidden.
        """
        term = search_term.strip()
        if not term:
            bounded = bool(_hidden(request))
            return among_newest(queryset, *self.open_rows) if bounded else queryset, False
        try:
            saga = UUID(term)
        except ValueError:
            matches = self._matches(term)
            return among_newest(queryset.filter(matches), *self.open_rows), False
        return queryset.filter(saga=saga), False

    def _of_steps(self, steps: Collection[str]) -> Q:
        """Return the condition of the rows of some steps."""
        return Q(step__in=steps)

    def _matches(self, term: str) -> Q:
        matches = Q(**{f"{self.error_field}__icontains": term})
        for field in self.name_fields:
            matches |= Q(**{f"{field}__startswith": term})
        return matches

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Show the plain columns, and below them the JSON columns with indentation."""
        plain = [field.name for field in self.opts.fields if field.name not in self.json_fields]
        return [*plain, *map(_indented, self.json_fields)]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Make all fields read-only."""
        return self.get_fields(request, obj)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Ask the console, or else for Django's permission to change the rows."""
        for console in _consoles:
            return console.is_permitted(request, self.console_action)
        return super().has_operate_permission(request)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Look up the kinds of the sagas of a page at once, for its links."""
        page = super().get_changelist_instance(request)
        rows = list(page.result_list)
        kinds = locate(row.saga for row in rows)
        for row in rows:
            setattr(row, KINDS, kinds)
        page.result_list = rows
        return page

    def _act_at_console(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponseBase | None:
        """Pass the sagas of the selected rows to the console, the oldest first."""
        sagas = queryset.order_by("saga").values_list("saga", flat=True).distinct()
        return _consoles[0].act(request, self.console_action, list(sagas[:MAX_FOUND]))

    @admin.display(description="saga")
    def saga_link(self, row: Any) -> SafeString:
        """Link to the page of the row's saga, if its model has an admin."""
        kinds = getattr(row, KINDS, None)
        if kinds is None:
            kinds = locate([row.saga])
        kind = kinds.get(row.saga)
        if kind is None or not self.admin_site.is_registered(kind.model):
            return format_html("{}", row.saga)

        page = kind.page(row.saga)
        return format_html('<a class="underline" href="{}">{}</a>', page, row.saga)

    @admin.display(description="written")
    def written(self, row: Any) -> str:
        """Return the row's age."""
        return age(row.created_at)


def _hidden(request: HttpRequest) -> str:
    return " ".join(filter(None, (console.hidden(request) for console in _consoles)))


def _indented(column: str) -> Callable[[Any], SafeString]:
    @admin.display(description=column)
    def indented(row: Any) -> SafeString:
        value = without_private(getattr(row, column))
        return preformatted(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True))

    return indented


def _waiting_outcome(row: Any, *, exhausted: bool) -> str:
    if row.is_answered_early:
        return "answered early"
    if row.send_at is None:
        return "parked"
    if not row.attempts:
        return "waits as agreed"
    return "keeps failing" if exhausted else "waiting"


class OutboxAdmin(_MessageAdmin):
    """A service's outbox: its events, the target of each, and whether it was sent."""

    list_display = (
        "type",
        "saga_link",
        "state",
        "step",
        "target",
        "written",
        "next_attempt",
        "attempts",
        "last_error",
    )
    list_filter = (PublicationFilter, UnsentForFilter, StepFilter)
    json_fields = ("data", "context", "plan", "headers")
    search_help_text = "Saga id, the start of an event, step or target, or a part of the error."
    name_fields = ("type", "step", "target")
    error_field = "last_error"
    open_rows = (UNSENT,)
    ordering = ("-id",)
    actions = ("publish_again",)
    console_action = "publish"

    def _of_steps(self, steps: Collection[str]) -> Q:
        """Return the condition as above. A row that no step wrote is judged by its target.

        Such rows are the first event of a saga, and a cancel. A row with neither is of no step.
        """
        return super()._of_steps(steps) | Q(step="", target__in=steps)

    @admin.display(description="state")
    def state(self, row: Any) -> str:
        """Return whether the row was sent. A parked row is unreadable and needs an operator."""
        if row.published_at:
            return "published"
        if row.due_at >= PARKED_UNTIL:
            return "parked"
        if row.last_error:
            return "failed to send"
        return "due" if row.due_at <= timezone.now() else "being sent"

    @admin.display(description="next attempt")
    def next_attempt(self, row: Any) -> str:
        """Return the time when the relay takes an unsent row; it takes no parked row."""
        is_never = row.published_at or row.due_at >= PARKED_UNTIL
        return "–" if is_never else age(row.due_at)

    @admin.action(description="Publish again", permissions=("operate",))
    def publish_again(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponseBase | None:
        """Make the rows due again and request a flush, or leave it to the console.

        A receiver that already did the step ignores the message.
        """
        if _consoles:
            return self._act_at_console(request, queryset)
        service = get_service(self.opts.app_label)
        ids = list(queryset.values_list("id", flat=True))
        rows = outbox.republish(service, ids=ids)
        request_flush(service.name)
        self.message_user(request, f"{rows} messages will be published again.", messages.SUCCESS)
        return None


class InboxAdmin(_MessageAdmin):
    """A service's inbox: the state of each step of each saga in this service."""

    list_display = (
        "step",
        "saga_link",
        "outcome",
        "attempts",
        "short_error",
        "written",
        "next_attempt",
        "changed",
    )
    list_filter = (StateFilter, OpenForFilter, StepFilter)
    json_fields = ("message",)
    search_help_text = "Saga id, the start of a step, or a part of the error."
    name_fields = ("step",)
    error_field = "error"
    open_rows = (OPEN, HELD)
    ordering = ("-id",)
    actions = ("try_now",)
    console_action = "retry"

    @admin.display(description="state")
    def outcome(self, row: Any) -> str:
        """Return the step's state. "parked", "keeps failing" and "given up" need an operator.

        A parked row is not sent again: its saga was purged, or its message is unreadable.
        """
        exhausted = row.attempts >= handlers.policy_of(row.step).most_tries
        if row.state == "waiting":
            return _waiting_outcome(row, exhausted=exhausted)
        if row.state == "refused" and not row.attempts:
            return "barred"
        return "given up" if row.state == "refused" and exhausted else str(row.state)

    @admin.display(description="error")
    def short_error(self, row: Any) -> str:
        """Return the start of the error. The row's page shows all of it."""
        return Truncator(row.error).chars(80)

    @admin.display(description="changed")
    def changed(self, row: Any) -> str:
        """Return the time since the row last changed."""
        return age(row.updated_at)

    @admin.display(description="next attempt")
    def next_attempt(self, row: Any) -> str:
        """Return the time when the service sends an open step to itself again."""
        return age(row.send_at)

    @admin.action(description="Try again now", permissions=("operate",))
    def try_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        """Make the next attempt of waiting steps due now, or leave it to the console.

        Other steps are left alone.
        """
        if _consoles:
            return self._act_at_console(request, queryset)
        service = get_service(self.opts.app_label)
        rows = inbox.make_due_now(service, list(queryset.values_list("id", flat=True)))
        request_flush(service.name)
        self.message_user(
            request, f"The next attempt of {rows} steps is due now.", messages.SUCCESS
        )
        return None
