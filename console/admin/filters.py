"""How the list of orders is filtered: by what indexes find, and by what the services say of
failures and holds.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator

from console.failures.grouping import Failures, failures
from orders.models import Hold, Order
from orders.selectors import with_status
from orders.status import Status
from sagas.admin.changelist import OlderThanFilter

__all__ = ["FailureFilter", "HoldFilter", "OrderOlderThan", "StatusFilter"]


class StatusFilter(admin.SimpleListFilter):
    """Orders of a status, as indexes find them."""

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
    """Orders whose saga has been open for long."""

    open_rows = Q(ended_at=None)


class FailureFilter(admin.SimpleListFilter):
    """Orders one of whose steps fails like this."""

    title = "failure"
    parameter_name = "failure"

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Order], model_admin: Any
    ) -> None:
        wanted = self.parameter_name in params
        self.found = failures() if wanted else Failures(groups=[], unreachable=[], complete=True)
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Name the failures there are now; the page of failures leads here."""
        return [
            (group.key, f"{group.step}: {Truncator(group.shape).chars(60)}")
            for group in self.found.groups
        ]

    def has_output(self) -> bool:
        """Hold the filter also where nothing fails like that any more: then there is no order."""
        return self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Keep the orders of the failure."""
        if self.value() is None:
            return queryset
        group = self.found.called(str(self.value()))
        return queryset.filter(id__in=group.sagas if group else ())


class HoldFilter(admin.SimpleListFilter):
    """Orders that are on hold by themselves."""

    title = "hold"
    parameter_name = "hold"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the one choice there is."""
        return [("yes", "on hold")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Keep what is on hold, by what orders knows."""
        held = Hold.objects.filter(saga__isnull=False).values("saga")
        return queryset.filter(id__in=held) if self.value() else queryset
