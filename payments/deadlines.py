"""Deadlines of undecided payments, for the customer and for the gateway.

A customer has to confirm a payment, as with 3-D Secure, or has to pay a voucher. A gateway has to
decide on a charge, a refund or a dispute. All times are by the database's clock.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now

from payments.gateways.base import ActionRequired, ChargeAnswer, Pending, RefundAnswer
from payments.models import Payment
from sagas.storage import sql

__all__ = ["Deadline", "orders_past_deadline", "start_deadlines"]

# Sets a deadline once: `given` by the gateway, or else `seconds` from now. Returns the orders whose
# deadline is new. A gateway that postpones its decision sets a new deadline.
START = """
UPDATE payments_payment AS payment
   SET {column} = COALESCE(v.given, {seconds_from_now}), updated_at = clock_timestamp()
  FROM unnest(%(orders)s::uuid[], %(given)s::timestamptz[]) AS v(order_id, given)
 WHERE payment.order_id = v.order_id AND ({column} IS NULL OR {postponed})
RETURNING payment.order_id
"""
READ = """
SELECT order_id, {column}, extract(epoch FROM {column} - clock_timestamp())::float8,
       extract(epoch FROM clock_timestamp() - created_at)::float8
  FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[])
"""

# Seconds between two polls of the gateway: SHORTEST_POLL at first, at most LONGEST_POLL in the
# first hour, then the age of the payment divided by AGE_PER_POLL.
SHORTEST_POLL, LONGEST_POLL, AGE_PER_POLL = 1.0, 60.0, 60.0

# Seconds for a decision if the gateway does not say when it is due.
DECISION_SECONDS = 24 * 3600.0


class Deadline(NamedTuple):
    """When the time for a decision ends, and in how many seconds from now.

    `age` is the payment's, in seconds. `is_new`: this call has set the deadline.
    """

    expires_at: datetime
    seconds_left: float
    age: float
    is_new: bool

    def poll_delay(self) -> float:
        """Return the seconds until the gateway is polled again, if no webhook comes before.

        The delay grows with the payment's age, and never goes past the deadline.
        """
        longest = max(LONGEST_POLL, self.age / AGE_PER_POLL)
        delay = min(max(SHORTEST_POLL, self.age / 4), longest, self.seconds_left)
        return max(0.0, delay)


def start_deadlines(
    answers: Mapping[UUID, ChargeAnswer | RefundAnswer | None],
) -> dict[UUID, Deadline]:
    """Set a deadline on the payments whose answer is undecided; return all deadlines by order id.

    The caller has locked the payments.
    """
    of_customer = {
        order: answer.expires_at
        for order, answer in answers.items()
        if isinstance(answer, ActionRequired)
    }
    of_gateway = {
        order: answer.expected_at
        for order, answer in answers.items()
        if isinstance(answer, Pending)
    }
    return _start(
        "action_expires_at", of_customer, seconds=settings.PAYMENT_ACTION_SECONDS
    ) | _start("expected_at", of_gateway, seconds=DECISION_SECONDS, may_be_postponed=True)


def orders_past_deadline(payments: Iterable[Payment]) -> set[UUID]:
    """Return the order ids of the payments whose customer's time is over."""
    with_deadline = [payment.order_id for payment in payments if payment.action_expires_at]
    if not with_deadline:
        return set()

    late = Payment.objects.filter(order_id__in=with_deadline, action_expires_at__lte=Now())
    return set(late.values_list("order_id", flat=True))


def _start(
    column: str,
    given: Mapping[UUID, datetime | None],
    *,
    seconds: float,
    may_be_postponed: bool = False,
) -> dict[UUID, Deadline]:
    if not given:
        return {}

    params = {"orders": list(given), "given": list(given.values()), "seconds": seconds}
    statement = START.format(
        column=column,
        seconds_from_now=sql.seconds_from_now("%(seconds)s"),
        postponed=f"v.given > {column}" if may_be_postponed else "false",
    )
    new = {order for (order,) in sql.fetch("payments", statement, params)}
    return {
        order: Deadline(expires_at, seconds_left, age, order in new)
        for order, expires_at, seconds_left, age in sql.fetch(
            "payments", READ.format(column=column), params
        )
    }
