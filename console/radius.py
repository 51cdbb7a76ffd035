"""The blast radius: what an action would do to a set of orders, if it ran now. Asked of all three databases.

A few statements for the whole set, each by index. What a database that is down would have said is not guessed: its
name stands in `unreachable`, and an action that depends on it is not offered.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from console.asking import Asking
from console.models import Action
from sagas import sql
from sagas.services import Service, owner_of, service_called, service_names

__all__ = ["CAPTURED", "HELD", "OrdersAsking", "Radius", "radius_of"]

# Not fulfilled and not yet being cancelled: what a cancel would touch, as long as the pivot of its plan is not decided.
CANCELLABLE = """
SELECT o.id, jsonb_path_query_first(o.plan, '$.steps[*] ? (@.pivot == true).name') #>> '{}' FROM orders_order o
 WHERE o.id = ANY(%(orders)s::uuid[]) AND o.ended_at IS NULL
   AND o.status NOT IN ('fulfilled', 'cancelling', 'cancelled')
"""

DECIDED = """
SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND step = %(pivot)s AND state IN ('done', 'refused')
"""

CAPTURED = """
SELECT currency, sum(amount - refunded_amount)::bigint FROM payments_payment
 WHERE order_id = ANY(%(orders)s::uuid[]) AND status = 'captured' GROUP BY currency ORDER BY currency
"""

UNKNOWN = """
SELECT count(*) FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[]) AND status = 'pending'
"""

HELD = """
SELECT COALESCE(sum(quantity), 0)::bigint FROM inventory_reservation
 WHERE order_id = ANY(%(orders)s::uuid[]) AND state = 'held'
"""

WAITING = """
SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND state = 'waiting' AND send_at IS NOT NULL
"""

SENT = "SELECT saga FROM {outbox} WHERE saga = ANY(%(orders)s::uuid[])"


class Radius(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen. Amounts are in minor units by currency; `unknown` are charges whose outcome is not known.

    `holds`: on so many steps, for all orders.
    """

    orders: int
    affected: int = 0
    refunds: dict[str, int] = {}
    pieces: int = 0
    unknown: int = 0
    messages: int = 0
    holds: int = 0
    unreachable: list[str] = []

    @property
    def changes(self) -> int:
        """Return how much would be different afterwards: 0 for nothing."""
        return self.affected + self.holds

    @property
    def fingerprint(self) -> str:
        """Return what tells this radius from another: what was looked at is what is confirmed."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def radius_of(action: str, orders: Sequence[UUID]) -> Radius:
    """Return what an action would do to these orders now."""
    found = OrdersAsking(orders)
    if action == Action.CANCEL:
        return found.cancel()
    return found.messages(WAITING if action == Action.RETRY else SENT)


class OrdersAsking(Asking):
    """Questions about some orders, each to one service."""

    def __init__(self, orders: Sequence[UUID]) -> None:
        super().__init__()
        self.orders = list(orders)

    def cancel(self) -> Radius:
        """Return what it would take to call the orders off."""
        touched = self._cancellable()
        refunds = dict(self.ask("payments", lambda: self.fetch("payments", CAPTURED, orders=touched)))
        unknown = self.ask("payments", lambda: self.fetch("payments", UNKNOWN, orders=touched))
        pieces = self.ask("inventory", lambda: self.fetch("inventory", HELD, orders=touched))
        return self.radius(
            affected=len(touched),
            refunds=refunds,
            pieces=sum(number for (number,) in pieces),
            unknown=sum(number for (number,) in unknown),
        )

    def _cancellable(self) -> list[UUID]:
        """Return the orders whose pivot is not decided, by the inbox of whichever service it lies in."""
        pivots = dict(self.ask("orders", lambda: self.fetch("default", CANCELLABLE)))
        decided = {saga for pivot in sorted(set(pivots.values())) for saga in self._decided(pivot, pivots)}
        return [order for order in pivots if order not in decided]

    def _decided(self, pivot: str, pivots: Mapping[UUID, str]) -> list[UUID]:
        service = owner_of(pivot)
        params = {"orders": [order for order, own in pivots.items() if own == pivot], "pivot": pivot}
        statement = DECIDED.format(inbox=service.inbox)
        return [saga for (saga,) in self.ask(service.name, lambda: self.fetch(service.alias, statement, **params))]

    def messages(self, statement: str) -> Radius:
        """Return how many rows a statement finds in all services, and of how many orders."""
        services = map(service_called, service_names())
        rows = [saga for service in services for (saga,) in self.ask(service.name, self.of(service, statement))]
        return self.radius(affected=len(set(rows)), messages=len(rows))

    def radius(self, **found: Any) -> Radius:
        """Return what was found out, and who did not answer."""
        return Radius(**{"orders": len(self.orders), **found}, unreachable=self.unreachable)

    def of(self, service: Service, statement: str, **params: Any) -> Callable[[], list[tuple[Any, ...]]]:
        """Return the question that a statement puts to the tables of a service."""
        written = statement.format(inbox=service.inbox, outbox=service.outbox, hold=service.hold)
        return lambda: self.fetch(service.alias, written, **params)

    def fetch(self, alias: str, statement: str, **params: Any) -> list[tuple[Any, ...]]:
        """Run a statement about the orders, unless it is given others."""
        return sql.fetch(alias, statement, {"orders": self.orders, **params})
