"""One soak from beginning to end: open the shop, let in customers and faults, wait until it is
quiet, look at it.
"""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tools.chaos.books import Books, OrderRow
from tools.chaos.crowd import Crowd
from tools.chaos.errands import errands, products
from tools.chaos.faults import schedule
from tools.chaos.ground import Journal
from tools.chaos.mayhem import Mayhem
from tools.chaos.provider import misbehaving
from tools.chaos.record import Record
from tools.chaos.verdict import END_SECONDS, seconds_to_the_end, violations
from tools.local.demo.client import Client
from tools.local.errors import ServerFailed
from tools.local.processes import moments
from tools.local.stack import ADMIN, Stack

__all__ = ["Outcome", "Size", "Soak"]

# What the last order leaves to do, as marking a message sent, ends within moments.
QUIET_SECONDS = 20.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many orders and faults, drawn from which seed.

    `most_open`: orders that are open at once; `patience`: seconds from the last fault until the
    last order ends.
    """

    orders: int
    kills: int
    flushalls: int
    seed: int
    most_open: int
    patience: float = END_SECONDS


@dataclass(kw_only=True)
class Outcome:
    """What a soak came to."""

    size: Size
    orders: int
    open: int
    answers: Counter[str]
    struck: Counter[str]
    ends: dict[str, Counter[str]] = field(default_factory=dict)
    seconds_to_the_end: float
    violations: list[str]


class Soak:
    """A shop, its customers and its faults."""

    def __init__(
        self, stack: Stack, size: Size, *, progressed: Callable[[int, int, int], None]
    ) -> None:
        """Take a system that is up and has no orders yet, and what to tell how much is answered,
        ended and struck.
        """
        self.stack = stack
        self.size = size
        self.progressed = progressed
        self.errands = errands(orders=size.orders, seed=size.seed)
        self.record = Record([errand.wish for errand in self.errands if errand.deed == "place"])
        self.books = Books(stack.env["DATABASE_URL"])
        faults = schedule(
            orders=size.orders, kills=size.kills, flushalls=size.flushalls, seed=size.seed
        )
        self.mayhem = Mayhem(
            stack, faults, answered=lambda: self.record.placed, say=Journal(stack.run_dir)
        )

    def run(self) -> Outcome:
        """Do all of it; return what came of it."""
        self._open_shop()
        crowd = Crowd(self.stack.api, self._token(), self.record, most_open=self.size.most_open)
        self._with_progress(lambda: self._under_load(crowd))
        self._wait_for_the_end()
        return self._look_at_it()

    def _open_shop(self) -> None:
        staff = Client(self.stack.api, username=ADMIN, password=self.stack.admin_password)
        for product in products(self.size.orders):
            staff.add_product(product, sku=product.sku)

    def _token(self) -> str:
        done = self.stack.manage("create_token", ADMIN)
        if done.returncode:
            raise ServerFailed(f"There is no token for the customers: {done.stderr.strip()}")
        return done.stdout.strip()

    def _under_load(self, crowd: Crowd) -> None:
        with misbehaving(self.stack.sandbox, seed=self.size.seed):
            self.mayhem.start()
            crowd.run(self.errands)
            self.mayhem.finish(seconds=END_SECONDS)

    def _with_progress(self, work: Callable[[], None]) -> None:
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,), name="progress", daemon=True)
        watch.start()
        try:
            work()
        finally:
            over.set()
            watch.join()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> bool:
        """Show how far it is; say whether every order has ended."""
        count = self.books.count()
        if count is None:
            return False
        self.record.ended, there_are = count
        self.progressed(self.record.placed, self.record.ended, self.mayhem.struck.total())
        return self.record.ended == there_are

    def _wait_for_the_end(self) -> None:
        since = (datetime.now(UTC) - self.mayhem.last_at).total_seconds()
        for _ in moments(self.size.patience - since, pause=LOOK_SECONDS):
            if self._look():
                return

    def _look_at_it(self) -> Outcome:
        orders, last_fault_at = self.books.orders(), self.mayhem.last_at
        still_open = sum(order.ended_at is None for order in orders)
        return Outcome(
            size=self.size,
            orders=len(orders),
            open=still_open,
            answers=self.record.answers,
            struck=self.mayhem.struck,
            ends=self._ends(orders),
            seconds_to_the_end=seconds_to_the_end(orders, last_fault_at),
            violations=[
                *(
                    f"{fault.kind} could not strike: it never came back"
                    for fault in self.mayhem.pending
                ),
                *violations(self.record, orders, last_fault_at=last_fault_at),
                *self._audit(all_ended=still_open == 0),
            ],
        )

    def _ends(self, orders: list[OrderRow]) -> dict[str, Counter[str]]:
        """Return how the orders of each kind ended."""
        ends: dict[str, Counter[str]] = {}
        for order in orders:
            purchase = self.record.purchases.get(order.key or "")
            title = purchase.wish.kind.title if purchase else "nobody's"
            ends.setdefault(title, Counter())[order.outcome] += 1
        return ends

    def _audit(self, *, all_ended: bool) -> list[str]:
        """Check the invariants, again while the last messages settle: they hold once things are
        quiet.
        """
        for _ in moments(QUIET_SECONDS, pause=1):
            done = self.stack.manage("audit", "--expect-ended", "--json")
            if done.returncode == 0 or not all_ended:
                break
        return _audit_violations(done)


def _audit_violations(done: subprocess.CompletedProcess[str]) -> list[str]:
    try:
        verdicts = json.loads(done.stdout)["invariants"]
    except ValueError:
        return [f"The audit failed: {done.stderr.strip()}"]
    return [
        f"audit {verdict['id']}, {verdict['violations']} in all: {shown['subject']}: {shown['detail']}"
        for verdict in verdicts
        for shown in verdict["shown"]
    ]
