"""One run of the demo: create products, place orders, kill a worker, wait, and return some."""

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
from tools.local.demo.money import orders_with_money
from tools.local.demo.order_kinds import (
    CANCELLED_BY_CUSTOMER,
    FREE,
    KINDS,
    PRODUCTS,
    OrderKind,
    OrderRequest,
    Outcome,
    order_requests,
    shuffled,
)
from tools.local.demo.returns import Returns
from tools.local.processes import poll
from tools.local.stack import ADMIN, Stack

__all__ = ["END_SECONDS", "DemoRun", "ProgressListener"]

CLIENTS = 8
KILLED_WORKER = "worker-payments"
# The service resends the killed worker's messages after SAGA_STALL_SECONDS, 30 by default.
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
class ProgressListener:
    """Functions that the run calls: with the number of placed and ended orders, and with texts."""

    placed: Callable[[int], None]
    ended: Callable[[int], None]
    message: Callable[[str], None]


@dataclass
class DemoRun:
    """One demo: the kinds of the placed orders, and the orders as last read, both by id."""

    stack: Stack
    listener: ProgressListener
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    kinds: dict[str, OrderKind] = field(default_factory=dict)
    orders: dict[str, Json] = field(default_factory=dict)
    returns: Returns = field(default_factory=Returns)

    def create_users_and_products(self) -> None:
        """Create the customer, and products with SKUs of this demo."""
        password = self.stack.run_dir.secret(CUSTOMER)
        done = self.stack.manage(
            "shell", "-c", CREATE_CUSTOMER, CUSTOMER=CUSTOMER, CUSTOMER_PASSWORD=password
        )
        if done.returncode:
            raise DemoFailed(
                f"`manage.py shell` failed to create the user {CUSTOMER}: {done.stderr}"
            )

        self.customer = Client(self.stack.api, username=CUSTOMER, password=password)
        self.staff = Client(self.stack.api, username=ADMIN, password=self.stack.admin_password)
        series = secrets.token_hex(2).upper()
        self.skus = {product.sku: f"{product.sku}-{series}" for product in PRODUCTS}
        for product in PRODUCTS:
            self.staff.add_product(product, sku=self.skus[product.sku])

    def place_orders(self) -> None:
        """Place all orders from several clients; halfway, kill a worker and cancel an order."""
        requests = shuffled(tuple(kind for kind in KINDS if kind is not CANCELLED_BY_CUSTOMER))
        with ThreadPoolExecutor(CLIENTS) as clients:
            for number, _ in enumerate(clients.map(self._place, requests), start=1):
                if number == len(requests) // 2:
                    self._kill_a_worker()
                    # The payment worker is dead, so no charge can come before the cancel.
                    self._place_and_cancel()

                if number % 20 == 0:
                    self._refresh()

    def wait_for_the_end(self) -> None:
        """Wait until every order has ended and no stock is reserved, at most END_SECONDS."""
        started = time.monotonic()
        for _ in poll(END_SECONDS, pause=0.3):
            self._refresh()
            if not self.open_orders and not self._reserved_pieces():
                seconds = time.monotonic() - started
                self.listener.message(
                    f"Every order has ended, {seconds:.1f} s after the last order was placed."
                )
                return

    def return_orders(self) -> None:
        """Return some of the orders that are paid by card, and wait for the end of the returns."""
        fulfilled = [order for order in self.of(KINDS[0]) if order["status"] == "fulfilled"]
        self.returns.play(self.customer, self.staff, fulfilled)
        for _ in poll(END_SECONDS, pause=0.3):
            if self.returns.refresh(self.customer):
                return

    @property
    def open_orders(self) -> list[Json]:
        """The orders that have not ended, and the orders that the API does not list."""
        missing = (
            {"id": found, "status": "missing", "failure": None}
            for found in self.kinds.keys() - self.orders
        )
        return [
            *missing,
            *(order for order in self.orders.values() if order["status"] not in TERMINAL),
        ]

    def of(self, kind: OrderKind) -> list[Json]:
        """Return the orders of a kind."""
        return [order for found, order in self.orders.items() if self.kinds[found] == kind]

    def outcomes(self, kind: OrderKind) -> Counter[Outcome]:
        """Count the outcomes of the orders of a kind."""
        return Counter(outcome(order) for order in self.of(kind))

    @property
    def as_expected(self) -> bool:
        """Whether the orders of every kind ended as expected."""
        return all(self.outcomes(kind) == kind.expected for kind in KINDS)

    def free_orders_with_money(self) -> list[str]:
        """Return the free orders for which money may have moved: there must be none."""
        return sorted({order["id"] for order in self.of(FREE)} & orders_with_money(self.stack))

    def slowest(self) -> Json | None:
        """Return the slowest fulfilled order, if any: the killed worker delayed it."""
        fulfilled = (order for order in self.orders.values() if order["status"] == "fulfilled")
        return max(fulfilled, key=duration, default=None)

    def _place(self, request: OrderRequest) -> Json:
        order = self.customer.place(request, skus=self.skus)
        self.kinds[order["id"]] = request.kind
        self.listener.placed(len(self.kinds))
        return order

    def _place_and_cancel(self) -> None:
        for request in order_requests(CANCELLED_BY_CUSTOMER):
            self.customer.cancel(self._place(request))

    def _kill_a_worker(self) -> None:
        pid = self.stack.pid(KILLED_WORKER)
        if pid is None:
            raise DemoFailed(
                f"{KILLED_WORKER} is not running, so the demo cannot kill it. "
                f"See its log: {self.stack.run_dir.log(KILLED_WORKER)}"
            )

        os.kill(pid, signal.SIGKILL)
        self.listener.message(
            f"Killed {KILLED_WORKER} (process {pid}) with SIGKILL "
            f"after {len(self.kinds)} orders were placed."
        )

    def _refresh(self) -> None:
        """Read this demo's orders again."""
        ours = (
            order
            for order in self.customer.orders_since(self.began_at.isoformat())
            if order["id"] in self.kinds
        )
        self.orders = {order["id"]: order for order in ours}
        self.listener.ended(len(self.kinds) - len(self.open_orders))

    def _reserved_pieces(self) -> int:
        found = (self.staff.stock(sku) for sku in self.skus.values())
        return sum(stock["reserved"] for stock in found if stock)


def outcome(order: Json) -> Outcome:
    """Return the final status and the failure code of an order."""
    return order["status"], (order["failure"] or {}).get("code", "")


def duration(order: Json) -> timedelta:
    """Return the time from placing an order to its last change."""
    return datetime.fromisoformat(order["updated_at"]) - datetime.fromisoformat(order["created_at"])
