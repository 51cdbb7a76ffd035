"""The filters of the list of orders. An invalid value is an error."""

from datetime import datetime

import django_filters
from django.db.models import QuerySet

from api.requests.filters import DateTimeFilter, StrictFilterSet
from orders.models import Order
from orders.selectors import with_status
from orders.status import Status
from sagas.ids import lowest_id

__all__ = ["OrderFilters"]

# Seconds by which the clock of the host that made an order's id may differ from the database's:
# a wrong time zone of one hour, and a margin.
SKEW = 4_000


class OrderFilters(StrictFilterSet):
    """The filters of the list of orders. `after` and `before` exclude the given time.

    Pages are read in the order of the id, which contains the time, so a time also bounds the ids.
    """

    status = django_filters.ChoiceFilter(choices=Status.choices, method="with_status")
    needs_attention = django_filters.TypedChoiceFilter(
        choices=(("true", "yes"), ("false", "no")), coerce=lambda value: value == "true"
    )
    created_after = DateTimeFilter(method="after")
    created_before = DateTimeFilter(method="before")

    class Meta:
        model = Order
        fields = ("status", "needs_attention", "created_after", "created_before")

    def with_status(self, orders: QuerySet[Order], name: str, value: str) -> QuerySet[Order]:
        """Filter by status."""
        return with_status(orders, value)

    def after(self, orders: QuerySet[Order], name: str, value: datetime) -> QuerySet[Order]:
        """Filter by creation time."""
        return orders.filter(created_at__gt=value, id__gte=lowest_id(value.timestamp() - SKEW))

    def before(self, orders: QuerySet[Order], name: str, value: datetime) -> QuerySet[Order]:
        """Filter by creation time."""
        return orders.filter(created_at__lt=value, id__lt=lowest_id(value.timestamp() + SKEW))
