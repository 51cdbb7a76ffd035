"""The queries of orders, limited to the rows that a user may see."""

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet

from orders.models import Order, Product
from orders.status import TERMINAL, Status
from staff.policy import may_read

__all__ = [
    "READ_ORDERS",
    "products",
    "visible_orders",
    "with_status",
]

# Django's permission to read the orders of all customers.
READ_ORDERS = "orders.view_order"


def visible_orders(user: User | AnonymousUser) -> QuerySet[Order]:
    """Return the orders that a user may see: all with the permission, else their own."""
    orders = Order.objects.prefetch_related("lines")
    if isinstance(user, AnonymousUser):
        return orders.none()
    return orders if may_read(user, READ_ORDERS) else orders.filter(user=user)


def with_status(orders: QuerySet[Order], status: str) -> QuerySet[Order]:
    """Filter orders by status.

    Redundant conditions select partial indexes: open orders have not ended, cancelled ones failed.
    """
    found = orders.filter(status=status)
    if status == Status.CANCELLED:
        return found.exclude(failure_code="")
    return found if status in TERMINAL else found.filter(ended_at=None)


def products() -> QuerySet[Product]:
    """Return all products, including inactive ones."""
    return Product.objects.all()
