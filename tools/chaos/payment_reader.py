"""Read the payments from the database with plain SQL."""

import psycopg

__all__ = ["PaymentReader"]

# Payments whose money or whose books are not settled yet.
UNSETTLED = """
SELECT count(*) FROM payments_payment
 WHERE follow_at IS NOT NULL OR balance_due_at IS NOT NULL OR owed_amount > 0
    OR dispute_status = 'open'
"""


class PaymentReader:
    """Reads the database of payments, through a new connection for each call."""

    def __init__(self, url: str) -> None:
        """Read from the database at `url`."""
        self._url = url

    def unsettled(self) -> int:
        """Count the payments that the service still follows up, or whose customer is owed money."""
        with psycopg.connect(self._url, connect_timeout=5) as session:
            ((count,),) = session.execute(UNSETTLED.encode()).fetchall()
            return int(count)
