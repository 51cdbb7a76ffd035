"""Deadlines of undecided payments, for the customer and for the gateway.

A customer has to confirm a payment, as with 3-D Secure, or has to pay a voucher. A gateway has to
decide on a charge, a refund or a dispute. All times are by the database's clock.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now

from payments.gateways.base import ActionRequired, ChargeAnswer, Pending, RefundAnswer
from payments.models import Payment
from sagas import sql

__all__ = ["DECISION_SECONDS", "Deadline", "orders_past_deadline", "start_deadlines"]

# Both set a deadline once: `given` by the gateway, or else `seconds` from now. They return the
# orders whose deadline is new. A gateway that postpones its decision, or decides for another step,
# sets a new deadline.
START_OF_CUSTOMER = f"""
UPDATE payments_payment AS payment
   SET action_expires_at = COALESCE(v.given, {sql.seconds_from_now("%(seconds)s")}),
       updated_at = clock_timestamp()
  FROM unnest(%(orders)s::uuid[], %(given)s::timestamptz[]) AS v(order_id, given)
 WHERE payment.order_id = v.order_id AND action_expires_at IS NULL
RETURNING payment.order_id
"""  # noqa: S608  a constant
START_OF_GATEWAY = f"""
UPDATE payments_payment AS payment
   SET expected_at = COALESCE(v.given, {sql.seconds_from_now("%(seconds)s")}),
       expected_step = %(step)s, updated_at = clock_timestamp()
  FROM unnest(%(orders)s::uuid[], %(given)s::timestamptz[]) AS v(order_id, given)
 WHERE payment.order_id = v.order_id
   AND (expected_at IS NULL OR expected_step <> %(step)s OR v.given > expected_at)
RETURNING payment.order_id
"""  # noqa: S608  a constant
READ = """
SELECT order_id, {column}, extract(epoch FROM {column} - clock_timestamp())::float8,
       extract(epoch FROM clock_timestamp() - created_at)::float8
  FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[])
"""

# Seconds between two polls of the gateway: SHORTEST_POLL at first, at most LONGEST_POLL in the
# first hour, then the age of the payment divided by AGE_PER_POLL.
SHORTEST_POLL, LONGEST_POLL, AGE_PER_POLL = 1.0, 60.0, 60.0

# The longest pause between two polls for an overdue decision, in seconds.
LONGEST_OVERDUE_POLL = 300.0

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

    def overdue_poll_delay(self) -> float:
        """Return the seconds until the next poll for a decision that is overdue.

        The first polls follow soon, because the gateway may decide just after its deadline.
        """
        return min(max(SHORTEST_POLL, -self.seconds_left), LONGEST_OVERDUE_POLL)


def start_deadlines(
    step: str, answers: Mapping[UUID, ChargeAnswer | RefundAnswer | None]
) -> dict[UUID, Deadline]:
    """Set a deadline on the payments whose answer is undecided; return all deadlines by order id.

    The caller, `step`, has locked the payments.
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
        "action_expires_at",
        START_OF_CUSTOMER,
        of_customer,
        {"seconds": settings.PAYMENT_ACTION_SECONDS},
    ) | _start(
        "expected_at", START_OF_GATEWAY, of_gateway, {"seconds": DECISION_SECONDS, "step": step}
    )


def orders_past_deadline(payments: Iterable[Payment]) -> set[UUID]:
    """Return the order ids of the payments whose customer's time is over."""
    with_deadline = [payment.order_id for payment in payments if payment.action_expires_at]
    if not with_deadline:
        return set()

    late = Payment.objects.filter(order_id__in=with_deadline, action_expires_at__lte=Now())
    return set(late.values_list("order_id", flat=True))


def _start(
    column: str, statement: str, given: Mapping[UUID, datetime | None], params: dict[str, Any]
) -> dict[UUID, Deadline]:
    if not given:
        return {}

    params = {**params, "orders": list(given), "given": list(given.values())}
    new = {order for (order,) in sql.fetch("payments", statement, params)}
    rows = sql.fetch("payments", READ.format(column=column), params)
    return {
        order: Deadline(expires_at, seconds_left, age, order in new)
        for order, expires_at, seconds_left, age in rows
    }
