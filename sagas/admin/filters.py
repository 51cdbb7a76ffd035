"""The admin's filters of outbox and inbox.

They use the partial indexes where these apply, and cover only the newest rows elsewhere.
"""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from sagas.admin.changelist import OlderThanFilter, among_newest
from sagas.conf import settings
from sagas.definition import handlers
from sagas.definition.plan import service_name
from sagas.models import Inbox

__all__ = [
    "HELD",
    "OPEN",
    "PARKED_UNTIL",
    "UNSENT",
    "OpenForFilter",
    "PublicationFilter",
    "StateFilter",
    "StepFilter",
    "UnsentForFilter",
]

# The conditions of the tables' partial indexes. Held rows have an index of their own.
UNSENT = Q(published_at=None)
OPEN = Q(state__in=("started", "waiting"))
HELD = Q(state="held")

# The `due_at` of a parked outbox row: see PARK in `sagas.storage.outbox`.
PARKED_UNTIL = datetime(9999, 1, 1, tzinfo=UTC)


class UnsentForFilter(OlderThanFilter):
    """Outbox rows that have not been sent for some time."""

    title = "not sent for longer than"
    open_rows = UNSENT


class OpenForFilter(OlderThanFilter):
    """Steps that have been open for some time."""

    open_rows = OPEN


class PublicationFilter(admin.SimpleListFilter):
    """Outbox rows by whether they were sent."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the values to choose from."""
        return [
            ("parked", "parked: cannot be read"),
            ("failed", "failed to send"),
            ("due", "due"),
            ("leased", "being sent"),
            ("published", "published"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows with the chosen value."""
        if self.value() == "published":
            return among_newest(queryset.exclude(UNSENT))

        conditions = {
            "parked": Q(due_at__gte=PARKED_UNTIL),
            "failed": ~Q(last_error="") & Q(due_at__lt=PARKED_UNTIL),
            "due": Q(due_at__lte=Now()),
            "leased": Q(due_at__gt=Now(), due_at__lt=PARKED_UNTIL),
        }
        condition = conditions.get(self.value() or "")
        return queryset if condition is None else queryset.filter(UNSENT, condition)


class StateFilter(admin.SimpleListFilter):
    """Steps by state. The first two choices are steps that need an operator."""

    title = "state"
    parameter_name = "state__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the values to choose from."""
        stuck = [("parked", "parked: not sent again"), ("failing", "keeps failing")]
        agreed = ("agreed", "waits as agreed")
        return [*stuck, *((state.value, state.value) for state in Inbox.State), agreed]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows with the chosen value."""
        match self.value():
            case "parked" | "agreed" as state:
                is_parked = state == "parked"
                # A signal that came before the message of its wait is neither.
                queryset = queryset.exclude(message__isnull=True, signal__isnull=False)
                agreed = {} if is_parked else {"attempts": 0}
                return queryset.filter(OPEN, state="waiting", send_at__isnull=is_parked, **agreed)
            case "failing":
                return queryset.filter(OPEN, _at_limit()).exclude(error="")
            case "started" | "waiting" | "held" as state:
                return queryset.filter(HELD if state == "held" else OPEN, state=state)
            case "done" | "refused" as state:
                return among_newest(queryset.filter(state=state))
        return queryset


def _at_limit() -> Q:
    """Return the condition of rows whose attempts have reached the limit of their step."""
    own = {
        step: tries
        for step in handlers.names()
        if (tries := handlers.policy_of(step).most_tries) != settings.STEP_ATTEMPTS
    }
    condition = Q(attempts__gte=settings.STEP_ATTEMPTS) & ~Q(step__in=list(own))
    for step, tries in own.items():
        condition |= Q(step=step, attempts__gte=tries)
    return condition


class StepFilter(admin.SimpleListFilter):
    """Rows of one step, among the open and the newest rows.

    The choices are the registered steps, because a query for distinct steps would be slow.
    """

    title = "step"
    parameter_name = "step"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the values to choose from."""
        service = model_admin.opts.app_label
        return [(name, name) for name in handlers.names() if service_name(name) == service]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows with the chosen value."""
        if not self.value():
            return queryset
        open_rows = (OPEN, HELD) if issubclass(queryset.model, Inbox) else (UNSENT,)
        return among_newest(queryset.filter(step=self.value()), *open_rows)
