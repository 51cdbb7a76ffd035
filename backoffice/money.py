"""The money and the stock of a set of orders, for the previews of actions."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from console.bulk_actions.preview import OrderQueries

__all__ = ["Undecided", "captured", "reserved_units", "undecided"]

# Disputes have withdrawn a part of the captured money, so it cannot be refunded.
CAPTURED = """
SELECT currency,
       sum(COALESCE(captured_amount, amount) - refunded_amount - disputed_amount)::bigint AS ours
  FROM payments_payment
 WHERE order_id = ANY(%(orders)s::uuid[]) AND status = 'captured'
   AND COALESCE(captured_amount, amount) > refunded_amount + disputed_amount
 GROUP BY currency ORDER BY currency
"""

# The gateway may have captured a pending payment, and an authorized one once its capture was
# requested.
UNDECIDED = """
SELECT currency, count(*), sum(amount)::bigint FROM payments_payment p
 WHERE order_id = ANY(%(orders)s::uuid[])
   AND (status = 'pending'
        OR status = 'authorized' AND EXISTS (
           SELECT 1 FROM payments_inbox i
            WHERE i.saga = p.order_id AND i.step = 'payments.capture' AND i.attempts > 0
              AND i.state IN ('started', 'waiting', 'held')))
 GROUP BY currency ORDER BY currency
"""

RESERVED = """
SELECT COALESCE(sum(quantity), 0)::bigint FROM inventory_reservation
 WHERE order_id = ANY(%(orders)s::uuid[]) AND state = 'held'
"""


class Undecided(NamedTuple):
    """Charges of unknown outcome: how many, and their amounts in minor units by currency."""

    charges: int
    amounts: dict[str, int]


def captured(queries: OrderQueries, orders: Sequence[UUID] | None = None) -> dict[str, int]:
    """Return the captured amounts that are not refunded, by currency."""
    return dict(queries.rows("payments", CAPTURED, orders=_or_all(queries, orders)))


def undecided(queries: OrderQueries, orders: Sequence[UUID] | None = None) -> Undecided:
    """Return the charges that only the gateway can decide on."""
    rows = queries.rows("payments", UNDECIDED, orders=_or_all(queries, orders))
    amounts = {currency: amount for currency, _, amount in rows}
    return Undecided(sum(number for _, number, _ in rows), amounts)


def reserved_units(queries: OrderQueries, orders: Sequence[UUID] | None = None) -> int:
    """Return how many units of stock are reserved."""
    return queries.number("inventory", RESERVED, orders=_or_all(queries, orders))


def _or_all(queries: OrderQueries, orders: Sequence[UUID] | None) -> list[UUID]:
    return queries.orders if orders is None else list(orders)
