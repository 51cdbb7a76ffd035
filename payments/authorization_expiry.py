"""Cancels orders whose authorization expires soon, unless their capture has begun.

The gateway refuses to capture an expired authorization in any case. But an order that waits for
something else would keep its stock reserved, and keep its customer waiting, with no way to be paid.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction

from payments.events import PaymentAuthorized, PaymentExpiring
from sagas import sql
from sagas.lifecycle import CancelRequest, CancelResult, cancel_before_pivot

__all__ = ["cancel_expiring_once"]

# An order is cancelled this long before its authorization expires. The margin is longer
# than the largest clock difference, and longer than a capture that has begun takes.
MARGIN_SECONDS = 3600.0

BATCH = 100

# The outbox row of the authorization carries the plan and the context. Retention keeps it until the
# saga has ended. A row for the capture means that it has begun, or is barred already.
EXPIRING = """
SELECT o.saga, o.saga_started_at, o.seq, o.plan::text, o.context::text
  FROM payments_payment p
  JOIN payments_outbox o ON o.saga = p.order_id AND o.type = %(authorized)s
 WHERE p.status = 'authorized'
   AND p.authorization_expires_at <= now() + make_interval(secs => %(margin)s)
   AND NOT EXISTS (SELECT 1 FROM payments_inbox i
                    WHERE i.saga = p.order_id AND i.step = 'payments.capture')
 ORDER BY p.authorization_expires_at LIMIT %(limit)s
"""


class ExpiringOrder(NamedTuple):
    """An order to cancel, as the outbox row of its authorization has it."""

    saga: UUID
    started_at: datetime
    seq: int
    plan: str
    context: str


def cancel_expiring_once() -> int:
    """Cancel the orders whose authorization expires soon; return how many."""
    params = {"authorized": PaymentAuthorized.type, "margin": MARGIN_SECONDS, "limit": BATCH}
    rows = sql.fetch("payments", EXPIRING, params)
    return sum(_cancel(ExpiringOrder(*row)) for row in rows)


def _cancel(order: ExpiringOrder) -> bool:
    request = CancelRequest(
        saga=order.saga,
        plan=msgspec.json.decode(order.plan),
        started_at=order.started_at,
        context=msgspec.json.decode(order.context),
        event=PaymentExpiring(),
        seq=order.seq + 1,
    )
    with transaction.atomic(using="payments"):
        return cancel_before_pivot(request) is CancelResult.OURS
