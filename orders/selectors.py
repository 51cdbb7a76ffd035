"""What may be read of orders, and by whom."""

from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet

from api.roles import reads_everything
from orders.models import Order, Product, TimelineEvent

__all__ = ["orders_of", "products", "timeline_of"]


def orders_of(user: User | AnonymousUser) -> QuerySet[Order]:
    """Return the orders that a user may see: their own, or all for staff and auditors."""
    orders = Order.objects.prefetch_related("lines")
    if isinstance(user, AnonymousUser):
        return orders.none()
    return orders if reads_everything(user) else orders.filter(user=user)


def timeline_of(order_id: UUID) -> QuerySet[TimelineEvent]:
    """Return what happened to an order, oldest first."""
    return TimelineEvent.objects.filter(saga=order_id)


def products() -> QuerySet[Product]:
    """Return the catalogue, also what cannot be ordered now."""
    return Product.objects.all()
