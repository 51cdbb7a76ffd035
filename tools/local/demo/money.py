"""The orders for which money may have moved: by the rows of payments, and at the provider."""

from collections.abc import Iterator

import httpx
import psycopg

from tools.local.stack import Stack

__all__ = ["orders_with_money"]

# The second table is the ledger of the simulated gateway.
ROWS = """
SELECT order_id::text FROM payments_payment
UNION SELECT order_id::text FROM payments_simulatedcharge
"""
PAGE = 1000


def orders_with_money(stack: Stack) -> set[str]:
    """Return the ids of the orders that have a payment, or a movement at the gateway."""
    with psycopg.connect(stack.env["PAYMENTS_DATABASE_URL"], connect_timeout=5) as session:
        known = {order for (order,) in session.execute(ROWS)}
    return known | (set(_moved(stack.sandbox)) if stack.sandbox else set())


def _moved(sandbox: str) -> Iterator[str]:
    """Yield the order of each entry in the ledger of the payment sandbox."""
    with httpx.Client(base_url=sandbox, trust_env=False, timeout=30) as http:
        last, has_more = 0, True
        while has_more:
            params = {"after": last, "limit": PAGE}
            page = http.get("/sandbox/ledger", params=params).raise_for_status().json()
            for entry in page["data"]:
                last = entry["seq"]
                yield str(entry["order_id"])
            has_more = page["has_more"]
