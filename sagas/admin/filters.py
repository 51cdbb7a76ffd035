"""How outbox and inbox are filtered in the admin: by what the partial indexes hold, else among
the newest rows.
"""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from sagas.admin.changelist import OlderThanFilter, among_newest
from sagas.definition import handlers
from sagas.definition.plan import service_name
from sagas.models import Inbox

__all__ = [
    "HELD",
    "OPEN",
    "UNSENT",
    "OpenForFilter",
    "PublicationFilter",
    "StateFilter",
    "StepFilter",
    "UnsentForFilter",
]

# What the partial indexes of the tables hold: what is held has one of its own.
UNSENT = Q(published_at=None)
OPEN = Q(state__in=("started", "waiting"))
HELD = Q(state="held")


class UnsentForFilter(OlderThanFilter):
    """Rows that wait to be sent for long."""

    title = "not sent for longer than"
    open_rows = UNSENT


class OpenForFilter(OlderThanFilter):
    """Steps that are open for long."""

    open_rows = OPEN


class PublicationFilter(admin.SimpleListFilter):
    """Rows by whether they were sent."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer what there is."""
        return [
            ("failed", "failed to send"),
            ("due", "due"),
            ("leased", "being sent"),
            ("published", "published"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep what was asked for."""
        match self.value():
            case "due":
                return queryset.filter(UNSENT, due_at__lte=Now())
            case "leased":
                return queryset.filter(UNSENT, due_at__gt=Now())
            case "published":
                return among_newest(queryset.exclude(UNSENT))
            case "failed":
                return queryset.filter(UNSENT).exclude(last_error="")
        return queryset


class StateFilter(admin.SimpleListFilter):
    """Steps by what became of them, the dead ones first."""

    title = "state"
    parameter_name = "state__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer what there is."""
        dead = [("parked", "parked: never tried by itself"), ("failing", "keeps failing")]
        return [*dead, *((state.value, state.value) for state in Inbox.State)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep what was asked for."""
        match self.value():
            case "parked":
                return queryset.filter(OPEN, state="waiting", send_at=None)
            case "failing":
                return queryset.filter(OPEN, attempts__gte=settings.SAGA_STEP_ATTEMPTS).exclude(
                    error=""
                )
            case "started" | "waiting" | "held" as state:
                return queryset.filter(HELD if state == "held" else OPEN, state=state)
            case "done" | "refused" as state:
                return among_newest(queryset.filter(state=state))
        return queryset


class StepFilter(admin.SimpleListFilter):
    """Rows of one step, of what is open or new: not by asking the table which there are."""

    title = "step"
    parameter_name = "step"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer what there is."""
        service = model_admin.opts.app_label
        return [(name, name) for name in handlers.names() if service_name(name) == service]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep what was asked for."""
        if not self.value():
            return queryset
        open_rows = (OPEN, HELD) if issubclass(queryset.model, Inbox) else (UNSENT,)
        return among_newest(queryset.filter(step=self.value()), *open_rows)
