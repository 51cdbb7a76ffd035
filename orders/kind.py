"""The description of an order for the console and the audit: amount, customer and cancel."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet

from orders.events import OrderCancelling
from orders.models import Order
from orders.selectors import with_status
from orders.status import Status
from sagas import Refusal
from sagas.kinds import Fact, Money, SagaKind, register

__all__ = ["CANCELLED_BY_SHOP", "OrderKind"]

# The reason that the customer sees. The operator's own reason stays in the log.
CANCELLED_BY_SHOP = OrderCancelling(code="cancelled_by_shop", detail="Cancelled by the shop.")

CLOSED = {Status.FULFILLED, Status.CANCELLING, Status.CANCELLED}


@register(Order)
class OrderKind(SagaKind):
    """Orders. They are searched by customer, and cancelled until they are fulfilled."""

    statuses: Mapping[str, str] = MappingProxyType({each.value: each.value for each in Status})
    search_help = "Order id, or the customer's user name."

    def rows(self) -> QuerySet[Any]:
        """Return the orders with their users."""
        return super().rows().select_related("user")

    def status(self, row: Any) -> str:
        """Return the status that the customer sees."""
        return str(row.status)

    def facts(self, row: Any) -> Sequence[Fact]:
        """Return the amount and the customer."""
        return [
            Fact("Amount", Money(row.amount, row.currency)),
            Fact("Customer", row.user.get_username()),
        ]

    def with_status(self, rows: QuerySet[Any], status: str) -> QuerySet[Any]:
        """Return the orders of a status, by index."""
        return with_status(rows, status)

    def failure(self, row: Any) -> str:
        """Return the code and the detail of the failure."""
        return f"{row.failure_code}: {row.failure_detail}" if row.failure_code else ""

    def search(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the orders of the customer with this user name."""
        # A join on the user would make the planner walk through all orders.
        user = User.objects.filter(username=term).values_list("pk", flat=True).first()
        return rows.filter(user=user) if user else rows.none()

    def cancellation(self, row: Any) -> Refusal | None:
        """Return the event of a cancel by the shop, until the order is fulfilled or cancelling."""
        return None if row.status in CLOSED else CANCELLED_BY_SHOP
