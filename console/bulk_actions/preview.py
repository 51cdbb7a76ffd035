"""The blast radius: what an action would do to a set of orders, if it ran now; and how the services
are asked for it.

What a database that is down would have said is not guessed: its name stands in `unreachable`, and
an action that depends on it is not offered. The question of each action is in `console.bulk_actions.reach`.
"""

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from console.partial_reader import Asking
from sagas.storage import sql
from sagas.storage.registry import get_service, service_names

__all__ = ["OrdersAsking", "Radius"]


class Radius(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen. Amounts are in minor units by currency; `unknown` are charges whose
    outcome is not known.

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


class OrdersAsking(Asking):
    """Questions about some orders: a few statements for all of them, each to one service, and by
    index.
    """

    def __init__(self, orders: Sequence[UUID]) -> None:
        super().__init__()
        self.orders = list(orders)

    def rows(self, service: str, statement: str, **params: Any) -> list[tuple[Any, ...]]:
        """Return what a statement finds in the tables of a service, about the orders unless it
        is given others.
        """
        asked = get_service(service)
        written = statement.format(inbox=asked.inbox, outbox=asked.outbox, hold=asked.hold)
        return self.ask(
            service, lambda: sql.fetch(asked.alias, written, {"orders": self.orders, **params})
        )

    def number(self, service: str, statement: str, **params: Any) -> int:
        """Return the number that a statement finds in a service; 0 where nothing answers."""
        return sum(number for (number,) in self.rows(service, statement, **params))

    def of_all(self, statement: str) -> list[UUID]:
        """Return the order of each row that a statement finds in all services."""
        return [saga for service in service_names() for (saga,) in self.rows(service, statement)]

    def radius(self, **found: Any) -> Radius:
        """Return what was found out, and who did not answer."""
        return Radius(**{"orders": len(self.orders), **found}, unreachable=self.unreachable)
