"""The queries of orders, limited to the rows that a user may see."""

from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q, QuerySet

from api.auth.roles import reads_everything
from orders.models import Order, Product, TimelineEvent
from orders.status import TERMINAL, Status

__all__ = ["events_recorded_after", "products", "timeline_of", "visible_orders", "with_status"]


def visible_orders(user: User | AnonymousUser) -> QuerySet[Order]:
    """Return the orders that a user may see: their own, or all for staff and auditors."""
    orders = Order.objects.prefetch_related("lines")
    if isinstance(user, AnonymousUser):
        return orders.none()
    return orders if reads_everything(user) else orders.filter(user=user)


def with_status(orders: QuerySet[Order], status: str) -> QuerySet[Order]:
    """Filter orders by status.

    Redundant conditions select partial indexes: open orders have not ended, cancelled ones failed.
    """
    found = orders.filter(status=status)
    if status == Status.CANCELLED:
        return found.exclude(failure_code="")
    return found if status in TERMINAL else found.filter(ended_at=None)


def timeline_of(order_id: UUID) -> QuerySet[TimelineEvent]:
    """Return the events of an order, oldest first."""
    return TimelineEvent.objects.filter(saga=order_id)


def events_recorded_after(
    order_id: UUID, *, after: TimelineEvent | None
) -> QuerySet[TimelineEvent]:
    """Return the events of an order in the order of recording, after a given one if any."""
    events = timeline_of(order_id).order_by("recorded_at", "seq", "id")
    if after is None:
        return events
    at, seq = Q(recorded_at=after.recorded_at), Q(seq=after.seq)
    later = (
        Q(recorded_at__gt=after.recorded_at)
        | at & Q(seq__gt=after.seq)
        | at & seq & Q(id__gt=after.id)
    )
    return events.filter(later)


def products() -> QuerySet[Product]:
    """Return all products, including inactive ones."""
    return Product.objects.all()
