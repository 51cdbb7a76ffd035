"""Read the payments from the database with plain SQL."""

from collections.abc import Sequence

import psycopg

__all__ = ["PaymentReader"]

# Payments whose money or whose books are not settled yet.
UNSETTLED = """
SELECT count(*) FROM payments_payment
 WHERE follow_at IS NOT NULL OR balance_due_at IS NOT NULL OR owed_amount > 0
    OR dispute_status = 'open'
"""

LEFT = """
SELECT order_id::text,
       CASE WHEN charge_id IS NULL THEN 0 ELSE COALESCE(captured_amount, amount) END
           - refunded_amount - disputed_amount
  FROM payments_payment
"""


class PaymentReader:
    """Reads the database of payments, through a new connection for each call."""

    def __init__(self, url: str) -> None:
        """Read from the database at `url`."""
        self._url = url

    def unsettled(self) -> int:
        """Count the payments that the service still follows up, or whose customer is owed money."""
        ((count,),) = self._fetch(UNSETTLED)
        return int(count)

    def money_left(self) -> dict[str, int]:
        """Return the money that payments says we have, by order id, in minor units."""
        return {order: int(left) for order, left in self._fetch(LEFT)}

    def _fetch(self, query: str) -> Sequence[tuple]:
        with psycopg.connect(self._url, connect_timeout=5) as session:
            return session.execute(query.encode()).fetchall()
