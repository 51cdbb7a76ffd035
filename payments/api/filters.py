"""What payments can be filtered by. A value that makes no sense is an error, never all payments."""

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
