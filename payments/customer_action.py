"""Deadlines for customers who have to confirm a payment, as with 3-D Secure.

All times are by the database's clock.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now

from payments.models import Payment
from sagas.storage import sql

__all__ = ["ActionDeadline", "orders_past_deadline", "start_deadlines"]

START_DEADLINES = """
UPDATE payments_payment
   SET action_expires_at = clock_timestamp() + make_interval(secs => %(seconds)s),
       updated_at = clock_timestamp()
 WHERE order_id = ANY(%(orders)s::uuid[]) AND action_expires_at IS NULL
RETURNING order_id
"""
READ_DEADLINES = """
SELECT order_id, action_expires_at,
       extract(epoch FROM action_expires_at - clock_timestamp())::float8
  FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[])
"""


# Seconds between two polls of the gateway.
SHORTEST_POLL, LONGEST_POLL = 1.0, 60.0


class ActionDeadline(NamedTuple):
    """When the time to confirm a payment ends, and in how many seconds from now.

    `is_new`: this call has set the deadline.
    """

    expires_at: datetime
    seconds_left: float
    is_new: bool

    def poll_delay(self) -> float:
        """Return the seconds until the gateway is polled again, if no webhook comes before.

        The delay is a quarter of the time waited so far, and never goes past the deadline.
        """
        waited: float = settings.PAYMENT_ACTION_SECONDS - self.seconds_left
        delay = min(max(SHORTEST_POLL, waited / 4), LONGEST_POLL, self.seconds_left)
        return max(0.0, delay)


def start_deadlines(orders: Collection[UUID]) -> dict[UUID, ActionDeadline]:
    """Set a deadline on the payments that have none; return the deadlines of all by order id.

    The caller has locked the payments.
    """
    if not orders:
        return {}

    params = {"orders": list(orders), "seconds": settings.PAYMENT_ACTION_SECONDS}
    new = {order for (order,) in sql.fetch("payments", START_DEADLINES, params)}
    return {
        order: ActionDeadline(expires_at, seconds_left, order in new)
        for order, expires_at, seconds_left in sql.fetch("payments", READ_DEADLINES, params)
    }


def orders_past_deadline(payments: Iterable[Payment]) -> set[UUID]:
    """Return the order ids of the payments whose deadline is over."""
    with_deadline = [payment.order_id for payment in payments if payment.action_expires_at]
    if not with_deadline:
        return set()

    late = Payment.objects.filter(order_id__in=with_deadline, action_expires_at__lte=Now())
    return set(late.values_list("order_id", flat=True))
