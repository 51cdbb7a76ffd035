"""Waiting for a person: until when a customer may confirm a payment, as with 3-D Secure. By the
database's clock.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now

from payments.models import Payment
from sagas.storage import sql

__all__ = ["Deadline", "await_action", "overdue"]

AWAIT = """
UPDATE payments_payment
   SET action_expires_at = clock_timestamp() + make_interval(secs => %(seconds)s), updated_at = clock_timestamp()
 WHERE order_id = ANY(%(orders)s::uuid[]) AND action_expires_at IS NULL
RETURNING order_id
"""
DEADLINES = """
SELECT order_id, action_expires_at, extract(epoch FROM action_expires_at - clock_timestamp())::float8
  FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[])
"""


# Seconds between two looks.
SOONEST, LATEST = 1.0, 60.0


class Deadline(NamedTuple):
    """Until when an order's payment may be confirmed, and in how many seconds that is. `new`: it
    was set just now.
    """

    expires_at: datetime
    seconds: float
    new: bool

    def pause(self) -> float:
        """Return the seconds until we look again, where no webhook wakes us: a quarter of the
        time waited till now.
        """
        waited: float = settings.PAYMENT_ACTION_SECONDS - self.seconds
        return max(0.0, min(max(SOONEST, waited / 4), LATEST, self.seconds))


def await_action(orders: Collection[UUID]) -> dict[UUID, Deadline]:
    """Give the payments of some orders, which the caller has locked, their deadline unless they
    have it; return all.
    """
    if not orders:
        return {}
    params = {"orders": list(orders), "seconds": settings.PAYMENT_ACTION_SECONDS}
    new = {order for (order,) in sql.fetch("payments", AWAIT, params)}
    return {
        order: Deadline(expires_at, seconds, order in new)
        for order, expires_at, seconds in sql.fetch("payments", DEADLINES, params)
    }


def overdue(payments: Iterable[Payment]) -> set[UUID]:
    """Return the orders of those payments that were to be confirmed by now."""
    awaited = [payment.order_id for payment in payments if payment.action_expires_at]
    if not awaited:
        return set()
    late = Payment.objects.filter(order_id__in=awaited, action_expires_at__lte=Now())
    return set(late.values_list("order_id", flat=True))
