"""The single runs: each does one thing to one stack, and returns what was measured."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tools.benchmarks.books import BenchmarkFailed, Books
from tools.benchmarks.helpers import Helper
from tools.benchmarks.machine import WORKERS, cpu_seconds, frozen
from tools.local.stack import ADMIN, Stack

__all__ = ["Hurried", "Shop", "Steady", "Throughput", "percentile"]

PLACING_THREADS = 4


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Sagas per second from the first order to the last that ended, and CPU seconds per 1,000 by
    process.
    """

    rate: float
    cpu: dict[str, float]

    @property
    def cpu_in_all(self) -> float:
        """CPU seconds per 1,000 sagas, of all processes."""
        return sum(self.cpu.values())


@dataclass(frozen=True, kw_only=True)
class Steady:
    """Milliseconds from POST to the final status, at a fixed rate."""

    milliseconds: list[float] = field(repr=False)

    @property
    def p50(self) -> float:
        """The median."""
        return percentile(self.milliseconds, 50)

    @property
    def p99(self) -> float:
        """What one in a hundred exceeds."""
        return percentile(self.milliseconds, 99)


@dataclass(frozen=True, kw_only=True)
class Hurried:
    """Accepted POSTs per second, and the milliseconds each took."""

    rate: float
    p50: float
    p99: float


class Shop:
    """A stack with goods in it. `plain`: it runs the naive tasks, not the saga.

    What is measured beside another begins on tables that are vacuumed: it does not pay for what ran
    before it. One process places all its orders, and stays: what it costs to start belongs to no
    run.
    """

    def __init__(self, stack: Stack, *, plain: bool) -> None:
        """Open the shop."""
        self.stack = stack
        self.books = Books(stack)
        self.plain = plain
        self.books.open_shop()
        self.token = self._token()
        self.placing = Helper(stack, "place", "--threads", PLACING_THREADS)
        self.placing.hear()

    def close(self) -> None:
        """Send the process away that places the orders."""
        self.placing.end()

    def drain(self, orders: int, *, undone: float = 0.0) -> Throughput:
        """Have orders placed while nobody works, then let the workers go."""
        self.books.tidy()
        began = time.time()
        with frozen(self.stack):
            self.placing.ask(f"hold {orders} {undone}")
            before, started = cpu_seconds(self.stack), time.time()
        self.placing.ask("send")
        self.books.wait_until_ended()
        used = cpu_seconds(self.stack) - before
        _, end = self._span(began, orders, undone)
        return _throughput(orders, end - started, used)

    def live(self, orders: int, *, undone: float = 0.0) -> Throughput:
        """Place orders from four threads while the workers do what they can."""
        self.books.tidy()
        before, began, placing = cpu_seconds(self.stack), time.time(), self._cpu_of_placing()
        self.placing.ask(f"place {orders} {undone}")
        self.books.wait_until_ended()
        used = cpu_seconds(self.stack) - before
        used["placing"] = self._cpu_of_placing() - placing
        first, end = self._span(began, orders, undone)
        return _throughput(orders, end - first, used)

    def bare(self, orders: int) -> Throughput:
        """Do the same in bare SQL, one transaction for each step."""
        with self.quiet(), Helper(self.stack, "bare", "--orders", orders) as bare:
            bare.hear()
            before = cpu_seconds(self.stack)
            done = bare.ask("go")
            used = Counter(
                {"postgres": (cpu_seconds(self.stack) - before)["postgres"], "clients": done["cpu"]}
            )
        if done["failed"]:
            raise BenchmarkFailed(f"{done['failed']} processes of the bare SQL failed.")
        return _throughput(orders, done["seconds"], used)

    def steady(self, rate: float, seconds: float) -> Steady:
        """Have customers order over HTTP at a fixed rate, and follow each order to its final
        status.
        """
        self.books.tidy()
        began = time.time()
        heard = self._customers("orders/", "--rate", rate, "--seconds", seconds)
        if len(heard) != int(rate * seconds):
            raise BenchmarkFailed(f"{len(heard)} of {int(rate * seconds)} orders were answered.")
        self.books.wait_until_ended()
        terminal = self.books.terminal(began, column="ended_at" if self.plain else "updated_at")
        return Steady(milliseconds=[1000 * (terminal[order] - sent) for order, sent, _ in heard])

    def hurried(self, seconds: float, *, path: str = "orders/") -> Hurried:
        """Have customers order over HTTP as fast as they are answered, while no worker takes any
        time away.
        """
        with frozen(self.stack):
            heard = self._customers(path, "--seconds", seconds)
        if self.plain:
            self.books.end_all()
        self.books.wait_until_ended()
        took = [1000 * seconds for *_, seconds in heard]
        return Hurried(
            rate=len(heard) / seconds, p50=percentile(took, 50), p99=percentile(took, 99)
        )

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Keep this shop's programs from running while another is measured."""
        with frozen(self.stack, (*WORKERS, "api")):
            yield

    def _cpu_of_placing(self) -> Any:
        return self.placing.ask("cpu")["cpu"]

    def _customers(self, path: str, *options: object) -> list[tuple[str, float, float]]:
        with Helper(
            self.stack, "customers", f"{self.stack.api}/api/v1/{path}", self.token, *options
        ) as customers:
            heard = customers.hear()
        if heard["refused"]:
            raise BenchmarkFailed(f"{heard['refused']} orders were not accepted.")
        return [(order, sent, took) for order, sent, took in heard["answers"]]

    def _span(self, began: float, orders: int, undone: float) -> tuple[float, float]:
        cancelled = int(orders * undone)
        return self.books.span(began, fulfilled=orders - cancelled, cancelled=cancelled)

    def _token(self) -> str:
        login = {"username": ADMIN, "password": self.stack.admin_password}
        answer = httpx.post(
            f"{self.stack.api}/api/v1/auth/token/", json=login, timeout=30, trust_env=False
        )
        if not answer.is_success:
            raise BenchmarkFailed(f"There is no token for the customers: {answer.text}")
        return str(answer.json()["token"])


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of all do not exceed."""
    return (
        sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else math.nan
    )


def _throughput(orders: int, seconds: float, used: Counter[str]) -> Throughput:
    return Throughput(
        rate=orders / seconds,
        cpu={name: 1000 * spent / orders for name, spent in used.items() if spent > 0},
    )
