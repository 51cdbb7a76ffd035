"""The blast radius: what an action would do to a set of orders, if it ran now. Asked of all three databases.

A few statements for the whole set, each by index. What a database that is down would have said is not guessed: its
name stands in `unreachable`, and an action that depends on it is not offered.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from console.asking import Asking
from console.models import Action
from sagas import sql
from sagas.services import Service, service_called, service_names

__all__ = ["Radius", "radius_of"]

# Not fulfilled and not yet being cancelled: what a cancel would touch. One that is fulfilled only goes forward.
CANCELLABLE = """
SELECT o.id FROM orders_order o
 WHERE o.id = ANY(%(orders)s::uuid[]) AND o.ended_at IS NULL
   AND o.status NOT IN ('fulfilled', 'cancelling', 'cancelled')
   AND NOT EXISTS (SELECT 1 FROM orders_inbox i WHERE i.saga = o.id AND i.step = 'orders.fulfil'
                      AND i.state IN ('done', 'refused'))
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
    """What would happen. Amounts are in minor units by currency; `unknown` are charges whose outcome is not known."""

    orders: int
    affected: int = 0
    refunds: dict[str, int] = {}
    pieces: int = 0
    unknown: int = 0
    messages: int = 0
    unreachable: list[str] = []

    @property
    def fingerprint(self) -> str:
        """Return what tells this radius from another: what was looked at is what is confirmed."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def radius_of(action: str, orders: Sequence[UUID]) -> Radius:
    """Return what an action would do to these orders now."""
    found = _Asking(orders)
    if action == Action.CANCEL:
        return found.cancel()
    return found.messages(WAITING if action == Action.RETRY else SENT)


class _Asking(Asking):
    def __init__(self, orders: Sequence[UUID]) -> None:
        super().__init__()
        self.orders = list(orders)

    def cancel(self) -> Radius:
        touched = [order for (order,) in self.ask("orders", lambda: self._fetch("default", CANCELLABLE, self.orders))]
        refunds = dict(self.ask("payments", lambda: self._fetch("payments", CAPTURED, touched)))
        unknown = self.ask("payments", lambda: self._fetch("payments", UNKNOWN, touched))
        pieces = self.ask("inventory", lambda: self._fetch("inventory", HELD, touched))
        return Radius(
            orders=len(self.orders),
            affected=len(touched),
            refunds=refunds,
            pieces=sum(number for (number,) in pieces),
            unknown=sum(number for (number,) in unknown),
            unreachable=self.unreachable,
        )

    def messages(self, statement: str) -> Radius:
        services = map(service_called, service_names())
        rows = [saga for service in services for (saga,) in self.ask(service.name, self._of(service, statement))]
        return Radius(
            orders=len(self.orders), affected=len(set(rows)), messages=len(rows), unreachable=self.unreachable
        )

    def _of(self, service: Service, statement: str) -> Callable[[], list[tuple[Any, ...]]]:
        written = statement.format(inbox=service.inbox, outbox=service.outbox)
        return lambda: self._fetch(service.alias, written, self.orders)

    def _fetch(self, alias: str, statement: str, orders: Sequence[UUID]) -> list[tuple[Any, ...]]:
        return sql.fetch(alias, statement, {"orders": list(orders)})
