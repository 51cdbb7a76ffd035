"""The parts of an invariant, and the context that its checks can read."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, TypeAlias

from audit.databases import keys
from audit.ledger import Ledger
from audit.orphans import find_orphans
from audit.snapshot import OrderSnapshot, SagaSnapshot

__all__ = [
    "AuditContext",
    "Invariant",
    "SagaCheck",
    "SnapshotCheck",
    "TableCheck",
    "TableResult",
    "Violation",
]


class Violation(NamedTuple):
    """A row that breaks an invariant. `subject` names the row, `detail` says how it does so."""

    subject: str
    detail: str


@dataclass
class AuditContext:
    """The options of an audit, and the state that its checks share.

    `expect_ended`: all orders should have ended. `ledger`: the gateways' ledgers, or their
    substitutes. `balance`: for each currency, the money kept of ended orders less the money that
    should have been kept, in minor units.
    """

    expect_ended: bool
    ledger: Ledger
    balance: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.orphans = cache(lambda alias, table, column: find_orphans(keys(alias, table, column)))
        self.ledger_orphans = cache(lambda: find_orphans(self.ledger.orders()))


class TableResult(NamedTuple):
    """The result of a check of whole tables: `checked` rows, counted in `unit`s."""

    checked: int
    unit: str
    violations: Iterable[Violation]


SagaCheck: TypeAlias = Callable[[SagaSnapshot], Iterator[str]]
SnapshotCheck: TypeAlias = Callable[[OrderSnapshot], Iterator[str]]
TableCheck: TypeAlias = Callable[[AuditContext], Iterable[TableResult]]


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """One invariant of docs/guarantees.md, and its checks.

    - `orders` and `sagas` hold at any moment. They may compare only rows that are read in one
      statement, or in an order that makes no difference (see `audit.load`).
    - `ended_orders` and `ended_sagas` hold once the order or the saga has ended.
    - `sagas` and `ended_sagas` are of sagas of any kind. They read messages, so they run only if no
      service has purged them.
    - `ended_order_sagas` do so for orders only. `kinds` hold at any moment for a saga that is no
      order.
    - `tables` read whole tables.
    - `uses_ledger`: the checks read the gateway's ledger. If a gateway is not asked, they read the
      payments table in its place.
    """

    id: str
    title: str
    orders: tuple[SnapshotCheck, ...] = ()
    ended_orders: tuple[SnapshotCheck, ...] = ()
    sagas: tuple[SagaCheck, ...] = ()
    ended_sagas: tuple[SagaCheck, ...] = ()
    ended_order_sagas: tuple[SnapshotCheck, ...] = ()
    kinds: tuple[SagaCheck, ...] = ()
    tables: tuple[TableCheck, ...] = ()
    uses_ledger: bool = False

    def checks_of(self, snapshot: OrderSnapshot) -> Iterator[SnapshotCheck]:
        """Yield the checks that apply to an order in its present state."""
        yield from self.orders
        if snapshot.ended:
            yield from self.ended_orders
        yield from self._of_messages(snapshot)
        if snapshot.has_messages and snapshot.ended:
            yield from self.ended_order_sagas

    def checks_of_saga(self, snapshot: SagaSnapshot) -> Iterator[SagaCheck]:
        """Yield the checks that apply to a saga that is no order, in its present state."""
        yield from self.kinds
        yield from self._of_messages(snapshot)

    def _of_messages(self, snapshot: SagaSnapshot) -> Iterator[SagaCheck]:
        if snapshot.has_messages:
            yield from self.sagas
        if snapshot.has_messages and snapshot.ended:
            yield from self.ended_sagas
