"""Single losses at the workers of payments: kill processes or lose a message, and time the rest."""

import contextlib
import time
from collections.abc import Callable, Iterator

import psutil
import redis

from tools.benchmarks.database import BenchmarkFailed
from tools.benchmarks.machine import frozen
from tools.benchmarks.provider_runs import provider_of
from tools.benchmarks.scenarios import SystemUnderTest
from tools.local.processes import Process, poll
from tools.local.programs import PROGRAMS
from tools.local.rundir import PROJECT

__all__ = ["RecoveryScene", "another_worker"]

WORKER, QUEUE = "worker-payments", "payments"
CHILDREN = 2
# Calls are slow enough that they are surely in flight when a process is killed.
CALL_SECONDS = 1.0
ORDERS = 4
# A frozen worker may receive a message until its poll of the broker, of one second, has ended.
LAST_POLL_SECONDS = 1.5
READY_SECONDS, GO_ON_SECONDS = 60.0, 120.0
PAUSE_SECONDS = 0.01


class RecoveryScene:
    """The workers of payments of one system. Each method returns seconds until orders go on.

    An order goes on with its next call of the provider.
    """

    def __init__(self, system: SystemUnderTest, other: Process | None = None) -> None:
        """Kill processes of the worker of `system`, while the worker `other` lives, if any."""
        self._system = system
        self._other = other
        self._provider = provider_of(system)

    def kill_children(self, *, in_flight: bool) -> float:
        """Kill all pool processes of the worker."""
        return self._kill(lambda main: main.children(), in_flight=in_flight)

    def kill_main(self, *, in_flight: bool) -> float:
        """Kill the main process of the worker."""
        return self._kill(lambda main: [main], in_flight=in_flight)

    def kill_host(self, *, in_flight: bool) -> float:
        """Kill all processes of the worker at once."""
        return self._kill(lambda main: [main, *main.children()], in_flight=in_flight)

    def lose_message(self) -> float:
        """Delete the message of an order from the broker, before any worker has received it."""
        self._wait_for_worker()
        self._provider.new_calls()
        broker = redis.Redis.from_url(self._system.stack.env["REDIS_URL"], socket_timeout=10)
        with contextlib.closing(broker):
            with frozen(self._system.stack):
                time.sleep(LAST_POLL_SECONDS)
                self._place(1)
                _wait(lambda: broker.llen(QUEUE) > 0, "The order's message is in the broker")
                broker.delete(QUEUE)

            return self._seconds_until_calls(1, since=time.time())

    def _kill(
        self, victims: Callable[[psutil.Process], list[psutil.Process]], *, in_flight: bool
    ) -> float:
        main = self._wait_for_worker()
        self._provider.new_calls()
        if in_flight:
            self._provider.slow_down(CALL_SECONDS)
            with self._other_frozen():
                self._place(ORDERS)
                _wait(self._all_called, "The calls of all orders are in flight")

        for process in victims(main):
            process.kill()
        since = time.time()
        if not in_flight:
            self._place(1)

        return self._seconds_until_calls(ORDERS if in_flight else 1, since=since)

    def _all_called(self) -> bool:
        return self._provider.in_flight() >= ORDERS

    def _place(self, orders: int) -> None:
        self._system.placing.request(f"place {orders} 0")

    def _seconds_until_calls(self, orders: int, *, since: float) -> float:
        """Wait for the first call of each order after `since`; return the seconds to the last."""
        first: dict[str, float] = {}

        def all_called() -> bool:
            for call in self._provider.new_calls():
                if call.order and call.at > since:
                    first.setdefault(call.order, call.at)
            return len(first) >= orders

        _wait(all_called, "Every order has another call", seconds=GO_ON_SECONDS)
        self._provider.recover()
        self._system.database.wait_until_ended()
        return max(first.values()) - since

    @contextlib.contextmanager
    def _other_frozen(self) -> Iterator[None]:
        """Suspend the other worker, so that the work is at the worker that is killed."""
        if self._other is None:
            yield
            return

        self._other.freeze()
        time.sleep(LAST_POLL_SECONDS)
        try:
            yield
        finally:
            self._other.thaw()

    def _wait_for_worker(self) -> psutil.Process:
        """Wait until the supervisor has restarted the worker; return its main process."""
        for _ in poll(READY_SECONDS):
            pid = self._system.stack.pid(WORKER)
            with contextlib.suppress(psutil.NoSuchProcess):
                main = psutil.Process(pid) if pid else None
                if main and _has_pool(main):
                    return main
        raise BenchmarkFailed(f"The worker of payments is not back after {READY_SECONDS:.0f} s.")


@contextlib.contextmanager
def another_worker(system: SystemUnderTest) -> Iterator[Process]:
    """Run a second worker of payments, as on another host."""
    (program,) = (each for each in PROGRAMS if each.name == WORKER)
    command = [part.replace("payments@", "payments-2@") for part in program.command]
    log = system.stack.run_dir.log(f"{WORKER}-2")
    other = Process(f"{WORKER}-2", command, log=log, env=system.stack.env, cwd=PROJECT)
    other.start()
    try:
        _wait(
            lambda: bool(other.tree()) and _has_pool(other.tree()[0]),
            "The second worker has started",
            seconds=READY_SECONDS,
        )
        yield other
    finally:
        other.stop()


def _has_pool(main: psutil.Process) -> bool:
    return main.is_running() and len(main.children()) >= CHILDREN


def _wait(condition: Callable[[], bool], goal: str, *, seconds: float = 30.0) -> None:
    for _ in poll(seconds, pause=PAUSE_SECONDS):
        if condition():
            return
    raise BenchmarkFailed(f"This was not so after {seconds:.0f} s: {goal}.")
