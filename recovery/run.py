"""The recovery of one database: rounds of reading, planning and writing, until nothing is left."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, islice, product
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS

from audit.databases import keys
from recovery import inventory
from recovery.deliveries import plan_deliveries
from recovery.journal import HOME, Journal, load_journals, other_kinds
from recovery.messages import plan_messages
from recovery.orders import plan_orders
from recovery.partial_refunds import plan_partial_refunds
from recovery.payments import plan_payments
from recovery.stock_returns import plan_stock_returns
from recovery.tables import plan_tables
from recovery.writes import Note, Plan, Write
from sagas.storage.registry import get_home
from services import ALIASES, OWNERS, SERVICES

__all__ = ["DATABASES", "Options", "Report", "recover", "services_of"]

# The services whose database can be rebuilt, orders last.
DATABASES = tuple(sorted(OWNERS.values(), key=lambda name: ALIASES[name] == DEFAULT_DB_ALIAS))

# Orders that are read, planned and written at once.
PAGE = 1_000

# Each round makes the next one possible: first an order, then its messages, then its steps.
MOST_ROUNDS = 20

LOST_SAGA = "saga that cannot be rebuilt"
NOT_REBUILT = (
    "Find the order and the amount in the context of its messages, tell the customer, and request "
    "it anew if no money has moved."
)

ORDERS = (("default", "orders_order", "id"),)

# Every saga whose messages reached another database has a row in one of these tables.
OUTSIDE_OF_ORDERS = (
    *(
        (service.alias, f"{service.name}_{messages}", "saga")
        for service in SERVICES
        if service.alias != DEFAULT_DB_ALIAS
        for messages in ("outbox", "inbox")
    ),
    ("payments", "payments_payment", "order_id"),
    ("inventory", "inventory_reservation", "order_id"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The database that was restored, and the choices of the operator.

    `gateways`: the names of the gateways to ask. `stock_counted`: no hold is put on reservations.
    """

    database: str
    apply: bool = False
    gateways: Sequence[str]
    stock_counted: bool = False


@dataclass
class Report:
    """The writes that were planned or applied, and the notes.

    A blocking note counts only if the last round has found it.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    notes: list[Note] = field(default_factory=list)
    rounds: int = 0
    left: int = 0

    @property
    def blocking(self) -> list[Note]:
        """The notes that must be settled before the database is whole."""
        return [note for note in self.notes if note.blocking]


def recover(options: Options, on_write: Callable[[Write], None]) -> Report:
    """Plan the missing rows of a database, and write them if the options say so.

    `on_write` is called for each write: before it in a dry run, else after its commit. Raises
    `DatabaseUnavailable`, and `StepFailed` if a step that is delivered again fails.
    """
    report = Report()
    before: Counter[str] | None = None
    while report.rounds < MOST_ROUNDS:
        report.rounds += 1
        notes = dict.fromkeys(note for note in report.notes if not note.blocking)
        done: Counter[str] = Counter()
        for plan in _plans(options):
            notes |= dict.fromkeys(plan.notes)
            done.update(write.kind for write in plan.writes)
            _carry_out(plan, options, on_write)

        report.notes = list(notes)
        report.kinds.update(done)
        report.left = done.total()
        if not options.apply or not done or done == before:
            return report
        before = done
    return report


def services_of(database: str) -> list[str]:
    """Return the services whose messages are in the database that a service owns."""
    return [name for name, alias in ALIASES.items() if alias == ALIASES[database]]


def _plans(options: Options) -> Iterator[Plan]:
    """Yield the plans of one round: first of each page of orders, then of whole tables."""
    for page in _pages(options.database):
        yield _plan_page(options, load_journals(page))
    yield plan_tables(services_of(options.database))
    if options.database == "inventory":
        yield plan_stock_returns()
        yield inventory.plan_counters()
        if not options.stock_counted:
            yield inventory.plan_hold()


def _plan_page(options: Options, journals: Sequence[Journal]) -> Plan:
    services = services_of(options.database)
    if options.database == "orders":
        plan = plan_orders([journal for journal in journals if journal.home == HOME])
        plan.notes.extend(_lost_rows(journals))
        # Services that share this database need the first events of the sagas: in the next round.
        if not plan.writes:
            others = [name for name in services if name != "orders"]
            plan.extend(_plan_services(journals, others)[0])
        return plan

    messages, deliveries, lost = _plan_services(journals, services)
    plan = Plan()
    if options.database == "payments":
        plan = plan_payments(journals, lost, options.gateways)
        plan.extend(plan_partial_refunds(journals))
    elif options.database == "inventory":
        plan = inventory.plan_reservations(journals)

    # The rows of the domain come first. If the command stops in between, the next run still sees
    # that the messages are missing, and plans both again.
    plan.extend(messages)

    # A step runs in a later round, because it needs the rows of its domain and their counters.
    if not plan.writes:
        plan.extend(deliveries)
    return plan


def _lost_rows(journals: Sequence[Journal]) -> Iterator[Note]:
    """Yield a note for each saga whose row was in the lost database, and that is no order."""
    for journal in journals:
        if journal.home != HOME and journal.other is None:
            detail = f"{journal.home} has no row of it. {NOT_REBUILT}"
            yield Note(kind=LOST_SAGA, subject=str(journal.saga), detail=detail)


def _plan_services(
    journals: Sequence[Journal], services: Sequence[str]
) -> tuple[Plan, Plan, set[UUID]]:
    """Return the plans of the lost messages and of the deliveries, and the sagas with losses."""
    messages, deliveries = Plan(), Plan()
    lost: set[UUID] = set()
    for journal, service in product(journals, services):
        found = plan_messages(journal, service)
        if found.writes:
            lost.add(journal.saga)
        messages.extend(found)
        deliveries.extend(plan_deliveries(journal, service))
    return messages, deliveries, lost


def _carry_out(plan: Plan, options: Options, on_write: Callable[[Write], None]) -> None:
    for apply, writes in plan.batches():
        if options.apply:
            apply([write.row for write in writes])
        for write in writes:
            on_write(write)


def _pages(database: str) -> Iterator[list[UUID]]:
    """Yield the ids of the sagas to look at, in pages."""
    others = ((get_home(kind.home).alias, kind.table, kind.key) for kind in other_kinds())
    sources = OUTSIDE_OF_ORDERS if database == "orders" else (*ORDERS, *others)
    ids = (key for key, _ in groupby(merge(*(_ids(*source) for source in sources))))
    while page := list(islice(ids, PAGE)):
        yield page


def _ids(alias: str, table: str, column: str) -> Iterator[UUID]:
    for page in keys(alias, table, column):
        yield from page
