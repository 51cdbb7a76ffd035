"""The preview of an operator action: its impact on a set of sagas, if it ran now.

A database that does not answer is named in `unreachable`, and its figures are not guessed. The run
cannot be confirmed until it answers. Each action asks its own questions: see
`console.bulk_actions.actions`.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from console.partial_reader import PartialReader
from sagas import sql
from sagas.kinds import SagaKind, all_kinds
from sagas.models import TrackedSaga
from sagas.storage.registry import get_service, service_names

__all__ = ["Impact", "OrderQueries"]


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that an action would make. Refunds are in minor units, by currency.

    Stored with a confirmed run, hence the names on the wire. `unknown_charges` are charges that
    only the gateway can decide on, and `undecided` their amounts by currency: each of them may
    become a refund. `step_holds` is the number of holds on a step, for all sagas,
    that the action sets or lifts. `owed` is refunds that were decided before and have failed: the
    action repeats them, and they count towards no limit. `unpriced` is the number of sagas that
    change, and whose money and stock only their own domain knows. `unknown_destination`: no call to
    the outside system of the action is known.
    """

    orders: int
    affected: int = 0
    refunds: dict[str, int] = {}
    units: int = msgspec.field(default=0, name="pieces")
    unknown_charges: int = msgspec.field(default=0, name="unknown")
    undecided: dict[str, int] = {}
    owed: dict[str, int] = {}
    messages: int = 0
    step_holds: int = msgspec.field(default=0, name="holds")
    unpriced: int = 0
    unknown_destination: bool = False
    unreachable: list[str] = []

    @property
    def changes(self) -> int:
        """Return how many sagas and step holds would change: 0 if nothing would."""
        return self.affected + self.step_holds

    @property
    def fingerprint(self) -> str:
        """Return a hash of the impact.

        A confirmation sends it to say which preview the operator saw.
        """
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class OrderQueries(PartialReader):
    """Queries about a set of sagas: each is one statement to one service, and uses an index.

    `destination` is the outside system of an action on the calls of a step to it, else empty.
    """

    def __init__(self, orders: Sequence[UUID], *, destination: str = "") -> None:
        super().__init__()
        self.orders = list(orders)
        self.destination = destination

    def rows(self, service: str, statement: str, **params: Any) -> list[tuple[Any, ...]]:
        """Run a statement on the tables of a service, with `orders` as a parameter unless given."""
        tables = get_service(service)
        query = statement.format(
            inbox=tables.inbox,
            outbox=tables.outbox,
            hold=tables.hold,
            limit=tables.limit,
            fault=tables.fault,
        )
        params = {"orders": self.orders, **params}
        return self.read(service, lambda: sql.fetch(tables.alias, query, params))

    def number(self, service: str, statement: str, **params: Any) -> int:
        """Return the number that a statement yields; 0 where the service does not answer."""
        return sum(number for (number,) in self.rows(service, statement, **params))

    def in_all_services(self, statement: str) -> list[UUID]:
        """Return the saga of each row that a statement finds in any service."""
        return [order for name in service_names() for (order,) in self.rows(name, statement)]

    def open_sagas(self, *, besides: type[TrackedSaga] | None = None) -> list[TrackedSaga]:
        """Return the tracked rows that have not ended, of every kind besides one.

        One statement for each kind, as long as some of the sagas are not found.
        """
        missing = set(self.orders)
        rows: list[TrackedSaga] = []
        for kind in all_kinds():
            found = self.read(kind.home, partial(_rows, kind, missing)) if missing else []
            missing -= {row.pk for row in found}
            rows += [row for row in found if not row.ended_at and kind.model is not besides]
        return rows

    def messages_impact(self, statement: str) -> Impact:
        """Return the impact of an action on each message that a statement finds in any service."""
        orders = self.in_all_services(statement)
        return self.impact(affected=len(set(orders)), messages=len(orders))

    def impact(self, **figures: Any) -> Impact:
        """Return these figures, with the services that did not answer."""
        return Impact(**{"orders": len(self.orders), **figures}, unreachable=self.unreachable)


def _rows(kind: SagaKind, sagas: set[UUID]) -> list[TrackedSaga]:
    return list(kind.rows().filter(pk__in=sagas))
