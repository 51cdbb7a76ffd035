"""The orders for which money may have moved: by the rows of payments, and at the provider."""

import psycopg

from tools.local.provider_ledger import read_ledger
from tools.local.stack import Stack

__all__ = ["orders_with_money"]

# The second table is the ledger of the simulated gateway.
ROWS = """
SELECT order_id::text FROM payments_payment
UNION SELECT order_id::text FROM payments_simulatedcharge
"""


def orders_with_money(stack: Stack) -> set[str]:
    """Return the ids of the orders that have a payment, or a movement at the gateway."""
    with psycopg.connect(stack.env["PAYMENTS_DATABASE_URL"], connect_timeout=5) as session:
        found = {order for (order,) in session.execute(ROWS)}
    entries = read_ledger(stack.sandbox) if stack.sandbox else []
    return found | {entry.order for entry in entries if entry.order}
