"""The preview of an operator action: its impact on a set of orders, if it ran now.

A database that does not answer is named in `unreachable`, and its figures are not guessed. The run
cannot be confirmed until it answers. Each action asks its own questions: see
`console.bulk_actions.actions`.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from console.partial_reader import PartialReader
from sagas.storage import sql
from sagas.storage.registry import get_service, service_names

__all__ = ["Impact", "OrderQueries", "Undecided"]

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


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that an action would make. Refunds are in minor units, by currency.

    Stored with a confirmed run, hence the names on the wire. `unknown_charges` are charges that
    only the gateway can decide on, and `undecided` their amounts by currency: each of them may
    become a refund. `step_holds` is the number of holds on a step, for all orders,
    that the action sets or lifts.
    """

    orders: int
    affected: int = 0
    refunds: dict[str, int] = {}
    units: int = msgspec.field(default=0, name="pieces")
    unknown_charges: int = msgspec.field(default=0, name="unknown")
    undecided: dict[str, int] = {}
    messages: int = 0
    step_holds: int = msgspec.field(default=0, name="holds")
    unreachable: list[str] = []

    @property
    def changes(self) -> int:
        """Return how many orders and step holds would change: 0 if nothing would."""
        return self.affected + self.step_holds

    @property
    def fingerprint(self) -> str:
        """Return a hash of the impact.

        A confirmation sends it to say which preview the operator saw.
        """
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class OrderQueries(PartialReader):
    """Queries about a set of orders: each is one statement to one service, and uses an index."""

    def __init__(self, orders: Sequence[UUID]) -> None:
        super().__init__()
        self.orders = list(orders)

    def rows(self, service: str, statement: str, **params: Any) -> list[tuple[Any, ...]]:
        """Run a statement on the tables of a service, with `orders` as a parameter unless given."""
        tables = get_service(service)
        query = statement.format(inbox=tables.inbox, outbox=tables.outbox, hold=tables.hold)
        params = {"orders": self.orders, **params}
        return self.read(service, lambda: sql.fetch(tables.alias, query, params))

    def number(self, service: str, statement: str, **params: Any) -> int:
        """Return the number that a statement yields; 0 where the service does not answer."""
        return sum(number for (number,) in self.rows(service, statement, **params))

    def in_all_services(self, statement: str) -> list[UUID]:
        """Return the order of each row that a statement finds in any service."""
        return [order for name in service_names() for (order,) in self.rows(name, statement)]

    def captured(self, orders: Sequence[UUID] | None = None) -> dict[str, int]:
        """Return the captured amounts that are not refunded, by currency."""
        return dict(self.rows("payments", CAPTURED, orders=self._or_all(orders)))

    def undecided(self, orders: Sequence[UUID] | None = None) -> Undecided:
        """Return the charges that only the gateway can decide on."""
        rows = self.rows("payments", UNDECIDED, orders=self._or_all(orders))
        amounts = {currency: amount for currency, _, amount in rows}
        return Undecided(sum(number for _, number, _ in rows), amounts)

    def reserved_units(self, orders: Sequence[UUID] | None = None) -> int:
        """Return how many units of stock are reserved."""
        return self.number("inventory", RESERVED, orders=self._or_all(orders))

    def messages_impact(self, statement: str) -> Impact:
        """Return the impact of an action on each message that a statement finds in any service."""
        orders = self.in_all_services(statement)
        return self.impact(affected=len(set(orders)), messages=len(orders))

    def impact(self, **figures: Any) -> Impact:
        """Return these figures, with the services that did not answer."""
        return Impact(**{"orders": len(self.orders), **figures}, unreachable=self.unreachable)

    def _or_all(self, orders: Sequence[UUID] | None) -> list[UUID]:
        return self.orders if orders is None else list(orders)
