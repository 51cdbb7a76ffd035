"""Filters of the list of orders: by status, age, failure and hold."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator

from console.failures.grouping import Failures, current_failures
from orders.models import Hold, Order
from orders.selectors import with_status
from orders.status import Status
from sagas.admin.changelist import OlderThanFilter

__all__ = ["FailureFilter", "HoldFilter", "OrderOlderThan", "StatusFilter"]


class StatusFilter(admin.SimpleListFilter):
    """Orders of a status, by index."""

    title = "status"
    parameter_name = "status__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer every status."""
        return [(status.value, status.value) for status in Status]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Keep the orders of the status."""
        return (
            with_status(queryset, str(self.value())) if self.value() in Status.values else queryset
        )


class OrderOlderThan(OlderThanFilter):
    """Orders whose saga is older than some time and still open."""

    open_rows = Q(ended_at=None)


class FailureFilter(admin.SimpleListFilter):
    """Orders with a failing step of one failure."""

    title = "failure"
    parameter_name = "failure"

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Order], model_admin: Any
    ) -> None:
        no_failures = Failures(groups=[], unreachable=[], complete=True)
        self.found = current_failures() if self.parameter_name in params else no_failures
        if self.found.unreachable:
            down = ", ".join(self.found.unreachable)
            messages.warning(
                request, f"The database of {down} does not answer: orders are missing in this list."
            )
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the current failures. The page of failures links here."""
        return [
            (group.key, f"{group.step}: {Truncator(group.pattern).chars(60)}")
            for group in self.found.groups
        ]

    def has_output(self) -> bool:
        """Keep a filter that is set, also where no order has that failure any more."""
        return self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Keep the orders of the failure."""
        if self.value() is None:
            return queryset
        group = self.found.get(str(self.value()))
        return queryset.filter(id__in=group.sagas if group else ())


class HoldFilter(admin.SimpleListFilter):
    """Orders on hold, other than by a step on hold for all orders."""

    title = "hold"
    parameter_name = "hold"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the only choice."""
        return [("yes", "on hold")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Keep the orders on hold, by the hold rows of orders."""
        held = Hold.objects.filter(saga__isnull=False).values("saga")
        return queryset.filter(id__in=held) if self.value() else queryset
