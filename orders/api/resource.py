"""Orders as a resource of the API."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Q
from rest_framework.request import Request

from api.resources.resource import SagaResource
from orders.api.serializers import OrderSerializer
from orders.models import Order
from orders.payment_summaries import read_payments
from orders.selectors import visible_orders
from orders.status import TERMINAL
from staff.policy import may_read

__all__ = ["ORDERS"]

# Django's permission to read payments, which are in another service.
READ_PAYMENTS = "payments.view_payment"


def _payments_for(request: Request, orders: Sequence[Any]) -> Mapping[str, Any]:
    """Return the serializer's context: the reader, and the payments that the reader may read."""
    context: dict[str, Any] = {"reader": request.user.pk}
    if may_read(request.user, READ_PAYMENTS):
        context["payments"] = read_payments([order.id for order in orders])
    return context


ORDERS = SagaResource(
    model=Order,
    serializer=OrderSerializer,
    detail="order-detail",
    visible=visible_orders,
    decided=Q(status__in=[status.value for status in TERMINAL]),
    context=_payments_for,
)
