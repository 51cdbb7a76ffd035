"""Payments that are over, of which the gateway may know better: they are asked after until nothing is left open.

Money that came in after a cancel goes back by itself; a refund that failed in the end is tried for ever, ever more
slowly, and shown in the admin with its error, until the money is back by whichever way.
"""

from collections.abc import Sequence

from django.conf import settings
from django.db import transaction

from payments.models import Payment
from payments.services import lock_payments, payments_of, settle
from payments.steps import Refund, Reversed, refund_outcome, reversal_of, settlement_of
from sagas import sql
from sagas.steps import Retry, Unknown, Waiting

__all__ = ["follow_once"]

BATCH = 100

# Seconds: the first pause, and the longest.
FIRST, LONGEST = 5.0, 3600.0

CLAIM = """
UPDATE payments_payment
   SET follow_at = clock_timestamp() + make_interval(secs => %(lease)s), follow_attempts = follow_attempts + 1
 WHERE id = ANY(ARRAY(SELECT id FROM payments_payment WHERE follow_at <= now()
                       ORDER BY follow_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED))
RETURNING order_id
"""
DONE = """
UPDATE payments_payment SET follow_at = NULL, follow_attempts = 0, follow_error = ''
 WHERE order_id = ANY(%(orders)s::uuid[])
"""
AGAIN = """
UPDATE payments_payment AS payment
   SET follow_error = v.error,
       follow_at = clock_timestamp() + make_interval(
         secs => LEAST(%(longest)s, %(first)s * 2 ^ LEAST(payment.follow_attempts - 1, 20)))
  FROM unnest(%(orders)s::uuid[], %(errors)s::text[]) AS v(order_id, error)
 WHERE payment.order_id = v.order_id
"""


def follow_once() -> int:
    """Ask after the payments whose time has come, and write down what became of them; return how many there were."""
    params = {"lease": settings.SAGA_LEASE_SECONDS, "limit": BATCH}
    orders = sorted(order for (order,) in sql.fetch("payments", CLAIM, params))
    if orders:
        payments = [payment for _, payment in sorted(payments_of(orders).items())]
        _record(payments, Refund().call([reversal_of(payment) for payment in payments]))
    return len(orders)


def _record(payments: Sequence[Payment], answers: Sequence[Reversed]) -> None:
    answered = dict(zip((payment.order_id for payment in payments), answers, strict=True))
    outcomes = {payment.order_id: refund_outcome(payment, answered[payment.order_id]) for payment in payments}
    again = {
        order: outcome.reason for order, outcome in outcomes.items() if isinstance(outcome, Retry | Unknown | Waiting)
    }
    with transaction.atomic(using="payments"):
        locked = lock_payments(list(answered))
        settled = (settlement_of(order, answer) for order, answer in answered.items())
        settle(locked, [one for one in settled if one and one.status == Payment.Status.REFUNDED])
        sql.run("payments", DONE, {"orders": [order for order in answered if order not in again]})
        sql.run(
            "payments",
            AGAIN,
            {"orders": list(again), "errors": list(again.values()), "first": FIRST, "longest": LONGEST},
        )
