"""Sample a system once a second during a drill: orders, messages, calls, CPU."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import psycopg
import redis

from services import NAMES
from tools.benchmarks.machine import cpu_seconds
from tools.local.sandbox_control import SandboxControl
from tools.local.stack import Stack

__all__ = ["Snapshot", "Watch"]

SAMPLE_SECONDS = 1.0
# Messages that a worker has received, and not yet acknowledged.
UNACKNOWLEDGED = "unacked"

ORDERS = """
SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL), count(*) FILTER (WHERE needs_attention),
       count(*) FILTER (WHERE status = 'cancelled')
  FROM orders_order WHERE created_at >= to_timestamp(%s)
"""
HELD = "SELECT count(*) FROM payments_inbox WHERE state = 'held'"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A system at one moment, `seconds` after the start of the drill.

    `queued`: messages in the broker, received ones included. `calls` and `cpu`: calls of the
    provider, and CPU seconds of all workers, both for each second since the last snapshot.
    """

    seconds: float
    phase: str
    orders: int
    open: int
    held: int
    queued: int
    calls: float
    cpu: float
    attention: int
    cancelled: int


class Watch:
    """Takes snapshots in a thread while the context lasts. Set `phase` to name the next ones."""

    def __init__(
        self, stack: Stack, provider: SandboxControl, *, notify: Callable[[Snapshot], None]
    ) -> None:
        """Watch `stack`, and call `notify` with each snapshot."""
        self.phase = ""
        self.snapshots: list[Snapshot] = []
        self.started_at = time.time()
        self._stack = stack
        self._provider = provider
        self._notify = notify
        self._broker = redis.Redis.from_url(stack.env["REDIS_URL"], socket_timeout=10)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        """Start watching."""
        self._provider.new_calls()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()
        self._broker.close()

    @property
    def seconds(self) -> float:
        """The seconds since the start of the drill."""
        return time.time() - self.started_at

    def _watch(self) -> None:
        env = self._stack.env
        with (
            psycopg.connect(env["DATABASE_URL"], autocommit=True) as orders,
            psycopg.connect(env["PAYMENTS_DATABASE_URL"], autocommit=True) as payments,
        ):
            before, used = self.seconds, self._worker_cpu()
            while not self._over.wait(SAMPLE_SECONDS):
                now, used_now = self.seconds, self._worker_cpu()
                passed = now - before
                placed, still_open, attention, cancelled = _row(orders, ORDERS, self.started_at)
                snapshot = Snapshot(
                    seconds=now,
                    phase=self.phase,
                    orders=placed,
                    open=still_open,
                    held=_row(payments, HELD)[0],
                    queued=self._queued(),
                    calls=len(self._provider.new_calls()) / passed,
                    cpu=(used_now - used) / passed,
                    attention=attention,
                    cancelled=cancelled,
                )
                before, used = now, used_now
                self.snapshots.append(snapshot)
                self._notify(snapshot)

    def _queued(self) -> int:
        with self._broker.pipeline(transaction=False) as pipeline:
            for queue in NAMES:
                pipeline.llen(queue)
            pipeline.hlen(UNACKNOWLEDGED)
            return sum(pipeline.execute())

    def _worker_cpu(self) -> float:
        used = cpu_seconds(self._stack)
        return sum(spent for name, spent in used.items() if name.startswith("worker-"))


def _row(session: psycopg.Connection, statement: str, *values: object) -> tuple[int, ...]:
    return tuple(session.execute(statement.encode(), values).fetchall()[0])
