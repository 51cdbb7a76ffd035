"""Follow-up of payments that are over, where the gateway may have moved money since.

The follow-up refunds money that came in after a cancel. It repeats a refund that failed, with
growing pauses, until the money is back. The admin shows the last error of each such payment.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from payments.gateway_requests import RefundResult, refund_plan
from payments.models import Payment
from payments.outcomes import refund_outcome, update_after_refund
from payments.services import lock_payments, payments_of, update_payments
from payments.steps import Refund
from sagas.backoff import exponential_sql
from sagas.definition.handlers import Outcome, Retry, Unknown, Waiting
from sagas.storage import sql

__all__ = ["follow_up_once"]

BATCH = 100

# Seconds before the second try, and the longest pause between two tries.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3600.0

# Leases due payments to this worker. The lease is the new `follow_at`.
CLAIM = sql.lease_statement(
    "payments_payment",
    due="follow_at",
    changes=["follow_attempts = follow_attempts + 1"],
    returning="order_id, follow_at",
)
# End the follow-up if there is no error, else schedule the next attempt. A payment whose
# `follow_at` has changed since the claim stays due, because a webhook has asked for another query.
NEXT_PAUSE = exponential_sql("payment.follow_attempts", first="%(first)s", longest="%(longest)s")
RECORD = f"""
UPDATE payments_payment AS payment
   SET follow_error = v.error,
       follow_attempts = CASE WHEN v.error = '' THEN 0 ELSE payment.follow_attempts END,
       follow_at = CASE WHEN v.error <> ''
                        THEN clock_timestamp() + make_interval(secs => {NEXT_PAUSE}) END
  FROM unnest(%(orders)s::uuid[], %(claimed)s::timestamptz[], %(errors)s::text[])
       AS v(order_id, claimed, error)
 WHERE payment.order_id = v.order_id AND payment.follow_at = v.claimed
"""  # noqa: S608  only the pause is inserted, a constant


def follow_up_once() -> int:
    """Void or refund the payments that are due for follow-up; return how many there were."""
    params = {"lease": settings.SAGA_LEASE_SECONDS, "limit": BATCH}
    claimed_at: dict[UUID, datetime] = dict(sql.fetch("payments", CLAIM, params))
    if not claimed_at:
        return 0

    payments = [payment for _, payment in sorted(payments_of(claimed_at).items())]
    results = Refund().call([refund_plan(payment) for payment in payments])
    _record(payments, results, claimed_at)
    return len(claimed_at)


def _record(
    payments: Sequence[Payment],
    results: Sequence[RefundResult],
    claimed_at: Mapping[UUID, datetime],
) -> None:
    by_order = {payment.order_id: result for payment, result in zip(payments, results, strict=True)}
    errors = [_error(refund_outcome(payment, by_order[payment.order_id])) for payment in payments]
    params = {
        "orders": list(by_order),
        "claimed": [claimed_at[order] for order in by_order],
        "errors": errors,
        "first": FIRST_PAUSE,
        "longest": LONGEST_PAUSE,
    }

    with transaction.atomic(using="payments"):
        locked = lock_payments(list(by_order))
        updates = (update_after_refund(order, result) for order, result in by_order.items())
        refunded = [
            update for update in updates if update and update.status == Payment.Status.REFUNDED
        ]
        update_payments(locked, refunded)
        sql.run("payments", RECORD, params)


def _error(outcome: Outcome) -> str:
    return outcome.reason if isinstance(outcome, Retry | Unknown | Waiting) else ""
