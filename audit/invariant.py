"""What an invariant is, what checks it, and what a check may look at."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, TypeAlias
from uuid import UUID

from audit.case import Case
from audit.databases import fetch, keys
from audit.ledger import Ledger

__all__ = ["CaseCheck", "Invariant", "Scope", "Seen", "TableCheck", "Violation"]

EXISTING = "SELECT id FROM orders_order WHERE id = ANY(%(orders)s::uuid[])"


class Violation(NamedTuple):
    """What breaks an invariant: of what, and how."""

    subject: str
    detail: str


@dataclass
class Scope:
    """How the audit is run, and what its parts hand on to each other.

    `expect_ended`: the orders are meant to have ended. `ledger`: the gateway's books, or what
    stands in for them. `balance`: by currency, what was kept of ended orders less what should have
    been, in minor units.
    """

    expect_ended: bool
    ledger: Ledger
    balance: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.strangers = cache(lambda alias, table, column: _unknown_of(keys(alias, table, column)))
        self.strangers_to_the_ledger = cache(lambda: _unknown_of(self.ledger.orders()))


def _unknown_of(pages: Iterable[list[UUID]]) -> tuple[int, list[UUID]]:
    """Return how many orders these are, and those that orders does not know.

    Orders are looked up last: an order is committed before anyone else can hear of it.
    """
    looked_at, unknown = 0, []
    for named in pages:
        existing = {order for (order,) in fetch("default", EXISTING, {"orders": named})}
        looked_at += len(named)
        unknown += [order for order in named if order not in existing]
    return looked_at, unknown


class Seen(NamedTuple):
    """What a check of whole tables looked at (how many, of what), and the violations it found."""

    looked_at: int
    of: str
    violations: Iterable[Violation]


CaseCheck: TypeAlias = Callable[[Case], Iterator[str]]
TableCheck: TypeAlias = Callable[[Scope], Iterable[Seen]]


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """One invariant of the guarantees, and its checks.

    `orders` and `sagas` hold at any moment, so they may compare only what is read in one statement,
    or in an order that makes no difference (see `audit.gather`); `ended_orders` and `ended_sagas`
    hold once the order has ended. Those of sagas look at messages, and so are made only where no
    service has purged them. `tables` look at whole tables. `uses_ledger`: they look at the books of
    the gateway, or at what payments knows where it keeps them elsewhere.
    """

    id: str
    says: str
    orders: tuple[CaseCheck, ...] = ()
    ended_orders: tuple[CaseCheck, ...] = ()
    sagas: tuple[CaseCheck, ...] = ()
    ended_sagas: tuple[CaseCheck, ...] = ()
    tables: tuple[TableCheck, ...] = ()
    uses_ledger: bool = False

    def checks_of(self, case: Case) -> Iterator[CaseCheck]:
        """Yield the checks that can be made of a case."""
        yield from self.orders
        if case.order.ended:
            yield from self.ended_orders
        if case.remembered:
            yield from self.sagas
        if case.remembered and case.order.ended:
            yield from self.ended_sagas
