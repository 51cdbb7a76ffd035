"""Read the payments from the database with plain SQL."""

from collections.abc import Sequence

import psycopg

__all__ = ["PaymentReader"]

# Payments whose customer is owed money, or whose books are not settled yet. A payment with an open
# dispute is looked at every hour, which is later.
UNSETTLED = """
SELECT count(*) FROM payments_payment
 WHERE owed_amount > 0 OR follow_error <> ''
    OR LEAST(follow_at, balance_due_at) < clock_timestamp() + interval '10 minutes'
"""
# A lost dispute may be listed as open for an hour, because its webhook was lost. In both states its
# amount is withdrawn.
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
