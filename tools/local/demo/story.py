"""How the demo goes: open the shop, let everybody in, kill a worker, wait until every order has
ended.
"""

import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tools.local.demo.client import Client, DemoFailed, Json
from tools.local.demo.script import (
    CANCELLED_BY_CUSTOMER,
    KINDS,
    PRODUCTS,
    Kind,
    Outcome,
    Wish,
    shuffled,
    wishes,
)
from tools.local.processes import moments
from tools.local.stack import ADMIN, Stack

__all__ = ["END_SECONDS", "Story", "Watcher"]

CLIENTS = 8
VICTIM = "worker-payments"
# A message that died with the worker is sent again after SAGA_STALL_SECONDS, by default 30.
END_SECONDS = 90.0
TERMINAL = {"fulfilled", "cancelled"}

CUSTOMER = "customer"
CREATE_CUSTOMER = """
import os
from django.contrib.auth.models import User
user, _ = User.objects.get_or_create(username=os.environ["CUSTOMER"])
user.set_password(os.environ["CUSTOMER_PASSWORD"])
user.save()
"""


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """Who is told how far the story is."""

    placed: Callable[[int], None]
    ended: Callable[[int], None]
    says: Callable[[str], None]


@dataclass
class Story:
    """The orders of one demo: those placed, by their ids, and how they look now."""

    stack: Stack
    watcher: Watcher
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    kinds: dict[str, Kind] = field(default_factory=dict)
    orders: dict[str, Json] = field(default_factory=dict)

    def open_shop(self) -> None:
        """Let staff put the products into the catalogue, under SKUs of this demo, and the
        customer in.
        """
        password = self.stack.run_dir.secret(CUSTOMER)
        done = self.stack.manage(
            "shell", "-c", CREATE_CUSTOMER, CUSTOMER=CUSTOMER, CUSTOMER_PASSWORD=password
        )
        if done.returncode:
            raise DemoFailed(f"The customer could not be created: {done.stderr}")
        self.customer = Client(self.stack.api, username=CUSTOMER, password=password)
        self.staff = Client(self.stack.api, username=ADMIN, password=self.stack.admin_password)
        series = secrets.token_hex(2).upper()
        self.skus = {product.sku: f"{product.sku}-{series}" for product in PRODUCTS}
        for product in PRODUCTS:
            self.staff.add_product(product, sku=self.skus[product.sku])

    def place_orders(self) -> None:
        """Place all orders from several clients at once; in the middle, kill a worker and cancel
        an order.
        """
        crowd = shuffled(tuple(kind for kind in KINDS if kind is not CANCELLED_BY_CUSTOMER))
        with ThreadPoolExecutor(CLIENTS) as clients:
            for number, _ in enumerate(clients.map(self._place, crowd), start=1):
                if number == len(crowd) // 2:
                    self._kill_a_worker()
                    self._place_and_cancel()  # with nobody to charge it, it cannot be too late
                if number % 20 == 0:
                    self._look()

    def wait_for_the_end(self) -> None:
        """Wait until every order is fulfilled or cancelled and nothing is held for one, or until
        the time is up.
        """
        started = time.monotonic()
        for _ in moments(END_SECONDS, pause=0.3):
            self._look()
            if not self.open_orders and not self._held():
                self.watcher.says(
                    f"Every order had ended {time.monotonic() - started:.1f} s after the last was placed."
                )
                return

    @property
    def open_orders(self) -> list[Json]:
        """The orders that have not ended, or that nobody finds any more."""
        missing = (
            {"id": found, "status": "missing", "failure": None}
            for found in self.kinds.keys() - self.orders
        )
        return [
            *missing,
            *(order for order in self.orders.values() if order["status"] not in TERMINAL),
        ]

    def of(self, kind: Kind) -> list[Json]:
        """Return the orders of a kind."""
        return [order for found, order in self.orders.items() if self.kinds[found] == kind]

    def outcomes(self, kind: Kind) -> Counter[Outcome]:
        """Return how many orders of a kind ended in which way."""
        return Counter(outcome(order) for order in self.of(kind))

    @property
    def as_expected(self) -> bool:
        """Whether every kind of order ended as it must."""
        return all(self.outcomes(kind) == kind.expected for kind in KINDS)

    def slowest(self) -> Json | None:
        """Return the fulfilled order that took longest, if any is: one that the killed worker
        held up.
        """
        fulfilled = (order for order in self.orders.values() if order["status"] == "fulfilled")
        return max(fulfilled, key=duration, default=None)

    def _place(self, wish: Wish) -> Json:
        order = self.customer.place(wish, skus=self.skus)
        self.kinds[order["id"]] = wish.kind
        self.watcher.placed(len(self.kinds))
        return order

    def _place_and_cancel(self) -> None:
        for wish in wishes(CANCELLED_BY_CUSTOMER):
            self.customer.cancel(self._place(wish))

    def _kill_a_worker(self) -> None:
        pid = self.stack.pid(VICTIM)
        if pid is None:
            raise DemoFailed(
                f"{VICTIM} is down, so it cannot be killed. Its log: {self.stack.run_dir.log(VICTIM)}"
            )
        os.kill(pid, signal.SIGKILL)
        self.watcher.says(
            f"Killed {VICTIM}, process {pid}, with SIGKILL, {len(self.kinds)} orders into the demo."
        )

    def _look(self) -> None:
        ours = (
            order
            for order in self.customer.orders_since(self.began_at.isoformat())
            if order["id"] in self.kinds
        )
        self.orders = {order["id"]: order for order in ours}
        self.watcher.ended(len(self.kinds) - len(self.open_orders))

    def _held(self) -> int:
        found = (self.staff.stock(sku) for sku in self.skus.values())
        return sum(stock["reserved"] for stock in found if stock)


def outcome(order: Json) -> Outcome:
    """Return how an order ended."""
    return order["status"], (order["failure"] or {}).get("code", "")


def duration(order: Json) -> timedelta:
    """Return the time from the placing of an order to its last change."""
    return datetime.fromisoformat(order["updated_at"]) - datetime.fromisoformat(order["created_at"])
