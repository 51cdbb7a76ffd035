"""The filters of the list of returns. An invalid value is an error."""

from datetime import datetime

import django_filters
from django.db.models import QuerySet

from api.requests.filters import DateTimeFilter, StrictFilterSet
from returns.models import Return
from returns.selectors import with_status
from returns.status import Kind, Status
from sagas.ids import lowest_id

__all__ = ["ReturnFilters"]

# Seconds by which the clock of the host that made an id may differ from the database's: a wrong
# time zone of one hour, and a margin.
SKEW = 4_000


class ReturnFilters(StrictFilterSet):
    """The filters of the list of returns. `after` and `before` exclude the given time."""

    order_id = django_filters.UUIDFilter()
    kind = django_filters.ChoiceFilter(choices=Kind.choices)
    status = django_filters.ChoiceFilter(choices=Status.choices, method="with_status")
    needs_attention = django_filters.TypedChoiceFilter(
        choices=(("true", "yes"), ("false", "no")), coerce=lambda value: value == "true"
    )
    created_after = DateTimeFilter(method="after")
    created_before = DateTimeFilter(method="before")

    class Meta:
        model = Return
        fields = (
            "order_id",
            "kind",
            "status",
            "needs_attention",
            "created_after",
            "created_before",
        )

    def with_status(self, rows: QuerySet[Return], name: str, value: str) -> QuerySet[Return]:
        """Filter by status."""
        return with_status(rows, value)

    def after(self, rows: QuerySet[Return], name: str, value: datetime) -> QuerySet[Return]:
        """Filter by creation time. The id contains the time, and pages are read in its order."""
        return rows.filter(created_at__gt=value, id__gte=lowest_id(value.timestamp() - SKEW))

    def before(self, rows: QuerySet[Return], name: str, value: datetime) -> QuerySet[Return]:
        """Filter by creation time."""
        return rows.filter(created_at__lt=value, id__lt=lowest_id(value.timestamp() + SKEW))
