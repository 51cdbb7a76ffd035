"""Payments that are over, of which the gateway may know better: they are asked after until nothing
is left open.

Money that came in after a cancel goes back by itself; a refund that failed in the end is tried for
ever, ever more slowly, and shown in the admin with its error, until the money is back by whichever
way.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from payments.gateway_requests import RefundResult, refund_plan
from payments.models import Payment
from payments.outcomes import refund_outcome, settlement_of
from payments.services import lock_payments, payments_of, settle
from payments.steps import Refund
from sagas.definition.handlers import Outcome, Retry, Unknown, Waiting
from sagas.storage import sql

__all__ = ["follow_up_once"]

BATCH = 100

# Seconds: the first pause, and the longest.
FIRST, LONGEST = 5.0, 3600.0

CLAIM = sql.lease_statement(
    "payments_payment",
    due="follow_at",
    changes=["follow_attempts = follow_attempts + 1"],
    returning="order_id, follow_at",
)
# An empty error: nothing is left to ask. What was brought forward since we claimed it, by a
# webhook, stays due.
FOLLOWED = """
UPDATE payments_payment AS payment
   SET follow_error = v.error,
       follow_attempts = CASE WHEN v.error = '' THEN 0 ELSE payment.follow_attempts END,
       follow_at = CASE WHEN v.error <> '' THEN clock_timestamp() + make_interval(
         secs => LEAST(%(longest)s, %(first)s * 2 ^ LEAST(payment.follow_attempts - 1, 20))) END
  FROM unnest(%(orders)s::uuid[], %(claimed)s::timestamptz[], %(errors)s::text[]) AS v(order_id, claimed, error)
 WHERE payment.order_id = v.order_id AND payment.follow_at = v.claimed
"""


def follow_up_once() -> int:
    """Ask after the payments whose time has come, and write down what became of them; return how
    many there were.
    """
    params = {"lease": settings.SAGA_LEASE_SECONDS, "limit": BATCH}
    claimed = dict(sql.fetch("payments", CLAIM, params))
    if claimed:
        payments = [payment for _, payment in sorted(payments_of(claimed).items())]
        _record(payments, Refund().call([refund_plan(payment) for payment in payments]), claimed)
    return len(claimed)


def _record(
    payments: Sequence[Payment], answers: Sequence[RefundResult], claimed: Mapping[UUID, datetime]
) -> None:
    answered = dict(zip((payment.order_id for payment in payments), answers, strict=True))
    params = {
        "orders": list(answered),
        "claimed": [claimed[order] for order in answered],
        "errors": [
            _left_open(refund_outcome(payment, answered[payment.order_id])) for payment in payments
        ],
        "first": FIRST,
        "longest": LONGEST,
    }
    with transaction.atomic(using="payments"):
        locked = lock_payments(list(answered))
        settled = (settlement_of(order, answer) for order, answer in answered.items())
        settle(locked, [one for one in settled if one and one.status == Payment.Status.REFUNDED])
        sql.run("payments", FOLLOWED, params)


def _left_open(outcome: Outcome) -> str:
    return outcome.reason if isinstance(outcome, Retry | Unknown | Waiting) else ""
