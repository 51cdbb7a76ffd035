"""Filters of the lists of sagas: by failure and hold."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator

from console.failures.grouping import Failures, current_failures
from console.order_page.saga_detail import table_model
from console.visible_kinds import visible_kinds
from sagas.kinds import kind_of
from sagas.models import Hold, TrackedSaga

__all__ = ["FailureFilter", "HoldFilter"]


class FailureFilter(admin.SimpleListFilter):
    """Sagas with a failing step of one failure."""

    title = "failure"
    parameter_name = "failure"

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, Any],
        model: type[TrackedSaga],
        model_admin: Any,
    ) -> None:
        no_failures = Failures(groups=[], unreachable=[], complete=True)
        shows = visible_kinds(request.user).shows
        self.found = current_failures(shows) if self.parameter_name in params else no_failures
        if self.found.unreachable:
            down = ", ".join(self.found.unreachable)
            messages.warning(
                request,
                f"The database of {down} does not answer: {kind_of(model).plural} are missing in"
                " this list.",
            )
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the current failures. The page of failures links here."""
        return [
            (group.key, f"{group.step}: {Truncator(group.pattern).chars(60)}")
            for group in self.found.groups
        ]

    def has_output(self) -> bool:
        """Keep a filter that is set, also where no saga has that failure any more."""
        return self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the sagas of the failure."""
        if self.value() is None:
            return queryset
        group = self.found.get(str(self.value()))
        return queryset.filter(pk__in=group.sagas if group else ())


class HoldFilter(admin.SimpleListFilter):
    """Sagas on hold, other than by a step on hold for all sagas."""

    title = "hold"
    parameter_name = "hold"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the only choice."""
        return [("yes", "on hold")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the sagas on hold, by the hold rows of their home."""
        if not self.value():
            return queryset
        holds = table_model(kind_of(queryset.model).home, Hold)._default_manager
        return queryset.filter(pk__in=holds.filter(saga__isnull=False).values("saga"))
