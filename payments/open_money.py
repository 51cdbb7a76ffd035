"""The money of payments that a person may have to look at, by currency.

Every statement uses an index and reads at most `COUNT_LIMIT` rows.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.utils import timezone

from payments.models import Drift, Payment
from sagas import sql
from sagas.currencies import with_currency
from sagas.queries import COUNT_LIMIT

__all__ = [
    "CAPTURE_STEP",
    "OpenDisputes",
    "OpenMoney",
    "captured_in_words",
    "charges_of_unknown_outcome",
    "money_owed",
    "open_discrepancies",
    "open_disputes",
    "orders_of_unknown_outcome",
    "owed_late",
]

CAPTURE_STEP = "payments.capture"

# The gateway may have captured these payments. A pending payment counts unless it waits by
# agreement, for its customer or for its bank. An authorized payment counts while its capture is
# open. A deadline that has passed is no agreement any more.
UNKNOWN_ROWS = """
SELECT order_id, id, currency, amount, greatest(since, action_expires_at, expected_at) AS since
  FROM ((SELECT order_id, id, currency, amount, created_at AS since, action_expires_at, expected_at
           FROM payments_payment WHERE status = 'pending' ORDER BY id LIMIT %(most)s)
        UNION ALL
         SELECT p.order_id, p.id, p.currency, p.amount, capture.created_at, NULL, p.expected_at
           FROM ((SELECT saga, step, created_at FROM payments_inbox
                   WHERE state IN ('started', 'waiting') ORDER BY send_at LIMIT %(most)s)
                 UNION ALL
                 (SELECT saga, step, created_at FROM payments_inbox
                   WHERE state = 'held' AND attempts > 0 ORDER BY step, id LIMIT %(most)s)) capture
           JOIN payments_payment p ON p.order_id = capture.saga AND p.status = 'authorized'
          WHERE capture.step = %(capture)s) undecided
 WHERE COALESCE(action_expires_at < now(), true) AND COALESCE(expected_at < now(), true)
"""
UNKNOWN = f"""
SELECT currency, count(*), sum(amount)::bigint, min(since)
  FROM ({UNKNOWN_ROWS}) unknown GROUP BY currency ORDER BY currency
"""  # noqa: S608  only the constant above is inserted
UNKNOWN_ORDERS = f"SELECT order_id FROM ({UNKNOWN_ROWS}) unknown"  # noqa: S608  as above

# Whole payments that were undone, and parts of other payments. The amount became owed when the row
# was last updated.
OWED_ROWS = """
SELECT * FROM ((SELECT currency, owed_amount AS amount, updated_at, expected_at
                  FROM payments_payment WHERE owed_amount > 0 ORDER BY id LIMIT %(most)s)
               UNION ALL
               (SELECT part.currency, part.amount - part.refunded_amount - part.covered_amount,
                       part.updated_at, part.expected_at
                  FROM payments_partialrefund part JOIN payments_payment p USING (order_id)
                 WHERE part.status = 'failed' AND p.owed_amount = 0
                 ORDER BY part.id LIMIT %(most)s)) rows
"""
OWED = f"""
SELECT currency, count(*), sum(amount)::bigint, min(updated_at)
  FROM ({OWED_ROWS}) owed GROUP BY currency ORDER BY currency
"""  # noqa: S608  only the constant above is inserted

# A refund that the gateway has under way, within its time, waits as agreed.
OWED_LATE = f"""
SELECT currency, count(*) FILTER (WHERE COALESCE(expected_at < now(), true))
  FROM ({OWED_ROWS}) owed GROUP BY currency ORDER BY currency
"""  # noqa: S608  as above

DISPUTES = """
SELECT currency, count(*), sum(amount)::bigint, min(respond_by) FILTER (WHERE respond_by > now())
  FROM (SELECT currency, amount, respond_by FROM payments_dispute
         WHERE status = 'open' ORDER BY opened_at LIMIT %(most)s) disputed
 GROUP BY currency ORDER BY currency
"""

DISCREPANCIES = """
SELECT kind, count(*)
  FROM (SELECT kind FROM payments_drift
         WHERE closed_at IS NULL ORDER BY id LIMIT %(most)s) discrepancies
 GROUP BY kind
"""


class OpenMoney(NamedTuple):
    """Money of one currency: how many payments, their amount in minor units, the oldest's time."""

    payments: int
    amount: int
    since: datetime

    @property
    def seconds(self) -> float:
        """The age of the oldest payment."""
        return max(0.0, (timezone.now() - self.since).total_seconds())


class OpenDisputes(NamedTuple):
    """Open disputes of one currency. `respond_by`: the next deadline for evidence, if any."""

    disputes: int
    amount: int
    respond_by: datetime | None


def charges_of_unknown_outcome() -> dict[str, OpenMoney]:
    """Add up the payments that the gateway may have captured, by currency."""
    return {row[0]: OpenMoney(*row[1:]) for row in _fetch(UNKNOWN)}


def orders_of_unknown_outcome() -> list[UUID]:
    """Return the orders of the payments that the gateway may have captured."""
    return [order for (order,) in _fetch(UNKNOWN_ORDERS)]


def money_owed() -> dict[str, OpenMoney]:
    """Add up the amounts that customers are to get back although their sagas have ended: of orders,
    and of parts such as those of returns.
    """
    return {row[0]: OpenMoney(*row[1:]) for row in _fetch(OWED)}


def owed_late() -> dict[str, int]:
    """Count the payments with owed money whose refund is not under way as agreed, by currency."""
    return dict(_fetch(OWED_LATE))


def open_disputes() -> dict[str, OpenDisputes]:
    """Count the open disputes, by currency."""
    return {row[0]: OpenDisputes(*row[1:]) for row in _fetch(DISPUTES)}


def open_discrepancies() -> dict[str, int]:
    """Count the discrepancies that no person has closed, by kind; 0 for a kind without any."""
    return dict.fromkeys(Drift.Kind.values, 0) | dict(_fetch(DISCREPANCIES))


def captured_in_words(payment: Payment, *, capture_is_open: bool = False) -> str:
    """Return the captured amount of a payment.

    "unknown" if only the gateway knows it, "not yet" while the payment waits as agreed.
    `capture_is_open`: the capture of an authorized payment may have been requested.
    """
    if payment.charge_id is not None:
        return with_currency(payment.captured, payment.currency)
    if payment.status == Payment.Status.PENDING:
        return "not yet" if _waits_as_agreed(payment) else "unknown"
    if payment.status == Payment.Status.AUTHORIZED:
        return "unknown" if capture_is_open else "not yet"
    return "none"


def _waits_as_agreed(payment: Payment) -> bool:
    now = timezone.now()
    deadlines = (payment.action_expires_at, payment.expected_at)
    return any(deadline is not None and deadline >= now for deadline in deadlines)


def _fetch(statement: str) -> list[tuple]:
    return sql.fetch("payments", statement, {"most": COUNT_LIMIT, "capture": CAPTURE_STEP})
