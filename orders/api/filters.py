"""What orders can be filtered by. A value that makes no sense is an error, never all orders."""

import django_filters
from django.db.models import QuerySet

from api.filters import MomentFilter, StrictFilterSet
from orders.models import Order
from orders.status import TERMINAL, Status

__all__ = ["OrderFilters"]


class OrderFilters(StrictFilterSet):
    """The filters of the list of orders. `after` and `before` leave out the moment itself."""

    status = django_filters.ChoiceFilter(choices=Status.choices, method="with_status")
    needs_attention = django_filters.TypedChoiceFilter(
        choices=(("true", "yes"), ("false", "no")), coerce=lambda value: value == "true"
    )
    created_after = MomentFilter(field_name="created_at", lookup_expr="gt")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Order
        fields = ("status", "needs_attention", "created_after", "created_before")

    def with_status(self, orders: QuerySet[Order], name: str, value: str) -> QuerySet[Order]:
        """Filter by status. The few that are open are found by the index of sagas that have not ended."""
        found = orders.filter(status=value)
        return found if value in TERMINAL else found.filter(ended_at=None)
