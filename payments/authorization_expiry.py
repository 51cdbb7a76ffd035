"""Authorizations that are about to run out: their orders are called off, as long as nobody has
begun to capture.

Without it nothing would be lost, for the gateway refuses the capture of what has run out; but an
order that waits for something else would keep its stock, and its customer, waiting for nothing.
"""

from datetime import datetime
from uuid import UUID

import msgspec
from django.db import transaction

from payments.events import PaymentAuthorized, PaymentExpiring
from sagas.lifecycle import CancelRequest, CancelResult, cancel_before_pivot
from sagas.storage import sql

__all__ = ["cancel_expiring_once"]

# How long before the gateway lets go: longer than the clocks differ, and than a capture that has
# begun is asked for.
MARGIN_SECONDS = 3600.0

BATCH = 100

# The row that told of the authorization is kept as long as its saga is open; where the capture has
# begun, or is barred already, it is left alone.
RUNNING_OUT = """
SELECT o.saga, o.saga_started_at, o.seq, o.plan::text, o.context::text
  FROM payments_payment p
  JOIN payments_outbox o ON o.saga = p.order_id AND o.type = %(authorized)s
 WHERE p.status = 'authorized' AND p.authorization_expires_at <= now() + make_interval(secs => %(margin)s)
   AND NOT EXISTS (SELECT 1 FROM payments_inbox i WHERE i.saga = p.order_id AND i.step = 'payments.capture')
 ORDER BY p.authorization_expires_at LIMIT %(limit)s
"""


def cancel_expiring_once() -> int:
    """Call off the orders whose authorization runs out soon; return how many."""
    params = {"authorized": PaymentAuthorized.type, "margin": MARGIN_SECONDS, "limit": BATCH}
    return sum(_call_off(*row) for row in sql.fetch("payments", RUNNING_OUT, params))


def _call_off(saga: UUID, started_at: datetime, seq: int, plan: str, context: str) -> bool:
    wish = CancelRequest(
        saga=saga,
        plan=msgspec.json.decode(plan),
        started_at=started_at,
        context=msgspec.json.decode(context),
        event=PaymentExpiring(),
        seq=seq + 1,
    )
    with transaction.atomic(using="payments"):
        return cancel_before_pivot(wish) is CancelResult.OURS
