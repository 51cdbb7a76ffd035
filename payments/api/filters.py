"""Filters of payments. They reject an invalid or empty value instead of ignoring it."""

from typing import Any

import django_filters
from django.db.models import Q, QuerySet

from api.requests.filters import StrictFilterSet
from payments.models import Payment
from payments.partial_refunds import orders_with_owed_money

__all__ = ["PaymentFilters"]

YES_OR_NO: dict[str, Any] = {
    "choices": (("true", "yes"), ("false", "no")),
    "coerce": lambda value: value == "true",
}


class PaymentFilters(StrictFilterSet):
    """The payment of one order; or the payments in one status, with a dispute, or with a debt."""

    order_id = django_filters.UUIDFilter()
    status = django_filters.ChoiceFilter(choices=Payment.Status.choices)
    disputed = django_filters.TypedChoiceFilter(
        field_name="disputed_amount", method="with_amount", **YES_OR_NO
    )
    owed = django_filters.TypedChoiceFilter(
        field_name="owed_amount", method="with_owed_money", **YES_OR_NO
    )

    class Meta:
        model = Payment
        fields = ("order_id", "status", "disputed", "owed")

    def with_amount(
        self, payments: QuerySet[Payment], column: str, wanted: bool
    ) -> QuerySet[Payment]:
        """Filter by whether an amount is there. A partial index has the payments with it."""
        condition = Q(**{f"{column}__gt": 0})
        return payments.filter(condition) if wanted else payments.exclude(condition)

    def with_owed_money(
        self, payments: QuerySet[Payment], name: str, wanted: bool
    ) -> QuerySet[Payment]:
        """Filter by whether money is owed, of the whole payment or of a part of it."""
        condition = Q(order_id__in=orders_with_owed_money())
        return payments.filter(condition) if wanted else payments.exclude(condition)
