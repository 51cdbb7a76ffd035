"""The single runs: each runs one scenario on one stack and returns its measurement."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from tools.benchmarks.child_process import ChildProcess
from tools.benchmarks.database import BenchmarkFailed, Database, Span
from tools.benchmarks.machine import WORKERS, cpu_seconds, frozen
from tools.benchmarks.pgbench import run_pgbench
from tools.local.sandbox_control import SandboxControl
from tools.local.stack import ADMIN, Stack

__all__ = [
    "SHORT_WARM_UP",
    "HttpAnswer",
    "Latency",
    "RequestRate",
    "SystemUnderTest",
    "Throughput",
    "percentile",
]

# Orders that connect all processes and prepare all statements.
SHORT_WARM_UP = 300
PLACING_THREADS = 4


class HttpAnswer(NamedTuple):
    """An accepted order: its id, the Unix time of the request, and the seconds until the answer."""

    order: str
    sent_at: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Sagas per second, and CPU seconds per 1,000 sagas by process."""

    rate: float
    cpu: dict[str, float]

    @property
    def cpu_total(self) -> float:
        """CPU seconds per 1,000 sagas, of all processes."""
        return sum(self.cpu.values())


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds from POST to the final status, at a fixed rate, and CPU of each order."""

    milliseconds: list[float] = field(repr=False)
    cpu_milliseconds: float

    @property
    def p50(self) -> float:
        """The median."""
        return percentile(self.milliseconds, 50)

    @property
    def p99(self) -> float:
        """The 99th percentile."""
        return percentile(self.milliseconds, 99)


@dataclass(frozen=True, kw_only=True)
class RequestRate:
    """Accepted POSTs per second, and percentiles of their milliseconds."""

    rate: float
    p50: float
    p99: float


class SystemUnderTest:
    """A stack with products. A `baseline` stack runs the naive tasks instead of the saga.

    Each compared run starts on vacuumed tables, so that it does not pay for earlier runs. One
    process, started beforehand, places all orders, so that no run includes its start.
    """

    def __init__(self, stack: Stack, *, baseline: bool) -> None:
        """Create products, and start the process that places orders."""
        self.stack = stack
        self.database = Database(stack)
        self.baseline = baseline
        self.database.create_products()
        self.token = self._token()
        self.provider = SandboxControl(stack.sandbox) if stack.sandbox else None
        self.placing = ChildProcess(stack, "place_orders", "--threads", PLACING_THREADS)
        self.placing.receive()

    def close(self) -> None:
        """End the process that places orders."""
        self.placing.end()
        if self.provider:
            self.provider.close()

    def drain(self, orders: int, *, undone: float = 0.0) -> Throughput:
        """Place orders while the workers are frozen, then measure how fast they finish them."""
        self.database.vacuum()
        began = time.time()

        with frozen(self.stack):
            self.placing.request(f"hold {orders} {undone}")
            before, started = cpu_seconds(self.stack), time.time()

        self.placing.request("send")
        self.database.wait_until_ended()
        used = cpu_seconds(self.stack) - before
        span = self._span(began, orders, undone)

        return _throughput(orders, span.last_ended_at - started, used)

    def live(self, orders: int, *, undone: float = 0.0) -> Throughput:
        """Place orders from four threads while the workers run."""
        self.database.vacuum()
        before, began, placing = cpu_seconds(self.stack), time.time(), self._cpu_of_placing()
        self.placing.request(f"place {orders} {undone}")
        self.database.wait_until_ended()
        used = cpu_seconds(self.stack) - before
        used["placing"] = self._cpu_of_placing() - placing
        span = self._span(began, orders, undone)

        return _throughput(orders, span.last_ended_at - span.first_placed_at, used)

    def bare(self, orders: int) -> Throughput:
        """Process orders with bare SQL, one transaction for each step."""
        with self.paused(), ChildProcess(self.stack, "bare_sql", "--orders", orders) as bare:
            bare.receive()
            before = cpu_seconds(self.stack)
            done = bare.request("go")
            used = Counter(
                {"postgres": (cpu_seconds(self.stack) - before)["postgres"], "clients": done["cpu"]}
            )

        if done["failed"]:
            raise BenchmarkFailed(f"{done['failed']} processes of the bare SQL failed.")

        return _throughput(orders, done["seconds"], used)

    def reference(self, orders: int) -> float:
        """Return the orders per second of the bare SQL, sent by a client in C."""
        with self.paused():
            return run_pgbench(self.stack, orders)

    def latency(self, rate: float, seconds: float) -> Latency:
        """Place orders over HTTP at a fixed rate; measure the time until the final status."""
        self.database.vacuum()
        before, began = cpu_seconds(self.stack), time.time()
        answers = self.order_over_http("orders/", "--rate", rate, "--seconds", seconds)
        if len(answers) != int(rate * seconds):
            raise BenchmarkFailed(
                f"The API answered only {len(answers)} of {int(rate * seconds)} orders."
            )

        self.database.wait_until_ended()
        used = cpu_seconds(self.stack) - before
        terminal = self.database.terminal(
            began, column="ended_at" if self.baseline else "updated_at"
        )
        return Latency(
            milliseconds=[1000 * (terminal[answer.order] - answer.sent_at) for answer in answers],
            cpu_milliseconds=1000 * used.total() / len(answers),
        )

    def request_rate(self, seconds: float, *, path: str = "orders/") -> RequestRate:
        """Place orders over HTTP as fast as the API answers, while the workers are frozen."""
        with frozen(self.stack):
            answers = self.order_over_http(path, "--seconds", seconds)

        if self.baseline:
            self.database.end_all()

        self.database.wait_until_ended()
        took = [1000 * answer.seconds for answer in answers]
        return RequestRate(
            rate=len(answers) / seconds, p50=percentile(took, 50), p99=percentile(took, 99)
        )

    def order_over_http(self, path: str, *options: object) -> list[HttpAnswer]:
        """Place orders from a separate process; return the answers when it has ended."""
        with ChildProcess(
            self.stack, "http_load", f"{self.stack.api}/api/v1/{path}", self.token, *options
        ) as customers:
            result = customers.receive()

        if result["refused"]:
            raise BenchmarkFailed(f"The API did not accept {result['refused']} orders.")
        return [HttpAnswer(*answer) for answer in result["answers"]]

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Suspend this system's programs while another system is measured."""
        with frozen(self.stack, (*WORKERS, "api")):
            yield

    def _cpu_of_placing(self) -> Any:
        return self.placing.request("cpu")["cpu"]

    def _span(self, began: float, orders: int, undone: float) -> Span:
        cancelled = int(orders * undone)
        return self.database.span(began, fulfilled=orders - cancelled, cancelled=cancelled)

    def _token(self) -> str:
        login = {"username": ADMIN, "password": self.stack.admin_password}
        answer = httpx.post(
            f"{self.stack.api}/api/v1/auth/token/", json=login, timeout=30, trust_env=False
        )
        if not answer.is_success:
            raise BenchmarkFailed(f"The login of {ADMIN} failed: {answer.text}")

        return str(answer.json()["token"])


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the percentile of `values`, or NaN if there are none."""
    return (
        sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else math.nan
    )


def _throughput(orders: int, seconds: float, used: Counter[str]) -> Throughput:
    return Throughput(
        rate=orders / seconds,
        cpu={name: 1000 * spent / orders for name, spent in used.items() if spent > 0},
    )
