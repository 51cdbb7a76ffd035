"""The recovery of one database: rounds of reading, planning and writing, until nothing is left."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, islice
from uuid import UUID

from audit.databases import keys
from recovery import inventory
from recovery.deliveries import plan_deliveries
from recovery.journal import Journal, load_journals
from recovery.messages import plan_messages
from recovery.orders import plan_orders
from recovery.payments import plan_payments
from recovery.tables import plan_tables
from recovery.writes import Note, Plan, Write

__all__ = ["DATABASES", "Options", "Report", "recover"]

DATABASES = ("payments", "inventory", "orders")

# Orders that are read, planned and written at once.
PAGE = 1_000

# Each round makes the next one possible: first an order, then its messages, then its steps.
MOST_ROUNDS = 20

ORDERS = (("default", "orders_order", "id"),)

# Every saga whose messages reached another service has a row in one of these tables.
OUTSIDE_OF_ORDERS = (
    ("payments", "payments_outbox", "saga"),
    ("payments", "payments_inbox", "saga"),
    ("payments", "payments_payment", "order_id"),
    ("inventory", "inventory_outbox", "saga"),
    ("inventory", "inventory_inbox", "saga"),
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


def _plans(options: Options) -> Iterator[Plan]:
    """Yield the plans of one round: first of each page of orders, then of whole tables."""
    for page in _pages(options.database):
        yield _plan_page(options, load_journals(page))
    yield plan_tables(options.database)
    if options.database == "inventory":
        yield inventory.plan_counters()
        if not options.stock_counted:
            yield inventory.plan_hold()


def _plan_page(options: Options, journals: Sequence[Journal]) -> Plan:
    if options.database == "orders":
        return plan_orders(journals)

    plan, deliveries = Plan(), Plan()
    lost: set[UUID] = set()
    for journal in journals:
        messages = plan_messages(journal, options.database)
        if messages.writes:
            lost.add(journal.saga)
        plan.extend(messages)
        deliveries.extend(plan_deliveries(journal, options.database))

    if options.database == "payments":
        domain = plan_payments(journals, lost, options.gateways)
    else:
        domain = inventory.plan_reservations(journals)

    # The rows of the domain come first. If the command stops in between, the next run still sees
    # that the messages are missing, and plans both again.
    domain.extend(plan)

    # A step runs in a later round, because it needs the rows of its domain and their counters.
    if not domain.writes:
        domain.extend(deliveries)
    return domain


def _carry_out(plan: Plan, options: Options, on_write: Callable[[Write], None]) -> None:
    for apply, writes in plan.batches():
        if options.apply:
            apply([write.row for write in writes])
        for write in writes:
            on_write(write)


def _pages(database: str) -> Iterator[list[UUID]]:
    """Yield the ids of the sagas to look at, in pages."""
    sources = OUTSIDE_OF_ORDERS if database == "orders" else ORDERS
    ids = (key for key, _ in groupby(merge(*(_ids(*source) for source in sources))))
    while page := list(islice(ids, PAGE)):
        yield page


def _ids(alias: str, table: str, column: str) -> Iterator[UUID]:
    for page in keys(alias, table, column):
        yield from page
