"""Filters of payments. They reject an invalid or empty value instead of ignoring it."""

import django_filters

from api.requests.filters import StrictFilterSet
from payments.models import Payment

__all__ = ["PaymentFilters"]


class PaymentFilters(StrictFilterSet):
    """The payment of one order, or the payments in one status."""

    order_id = django_filters.UUIDFilter()
    status = django_filters.ChoiceFilter(choices=Payment.Status.choices)

    class Meta:
        model = Payment
        fields = ("order_id", "status")
