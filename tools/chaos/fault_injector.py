"""Injects each fault when it is due, and counts the injected faults."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tools.chaos.fault_schedule import FLUSHALL, Fault
from tools.chaos.process_targets import ProcessTargets
from tools.local.stack import Stack

__all__ = ["FaultInjector"]

PAUSE_SECONDS = 0.02


class FaultInjector:
    """Injects the faults of one soak: `pending` are still to come, `injected` counts the others."""

    def __init__(
        self,
        stack: Stack,
        faults: list[Fault],
        *,
        answered: Callable[[], int],
        notify: Callable[[str], None],
    ) -> None:
        """Inject `faults` into `stack`, depending on the number of orders `answered`.

        Calls `notify` with a line for each injected fault.
        """
        self.pending = list(faults)
        self.injected: Counter[str] = Counter()
        self.last_at = datetime.now(UTC)
        self._targets = ProcessTargets(stack)
        self._broker = redis.Redis.from_url(
            stack.env["REDIS_URL"], socket_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        self._answered = answered
        self._notify = notify
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="injector", daemon=True)

    def start(self) -> None:
        """Start injecting in a thread."""
        self._thread.start()

    def finish(self, *, seconds: float) -> None:
        """Wait up to `seconds` for the remaining faults, then stop.

        A fault waits for its process when the supervisor has yet to restart it.
        """
        self._thread.join(seconds)
        self._enough.set()
        self._thread.join()

    def run_once(self) -> int:
        """Inject the first due fault whose target is alive; return the number injected, 0 or 1."""
        due = (fault for fault in self.pending if fault.after <= self._answered())
        fault = next((fault for fault in due if self._inject(fault)), None)
        if fault is None:
            return 0

        self.pending.remove(fault)
        self.injected[fault.kind] += 1
        self.last_at = datetime.now(UTC)

        return 1

    def _run(self) -> None:
        while self.pending and not self._enough.is_set():
            if not self.run_once():
                self._enough.wait(PAUSE_SECONDS)

    def _inject(self, fault: Fault) -> bool:
        target = self._flush() if fault.kind == FLUSHALL else self._kill(fault)
        if target:
            self._notify(f"{fault.kind}: {target}, with {self._answered()} orders answered")

        return bool(target)

    def _kill(self, fault: Fault) -> str:
        try:
            return self._targets.kill(fault.kind, choice=fault.choice)
        except psutil.NoSuchProcess:
            return ""

    def _flush(self) -> str:
        try:
            lost = self._broker.dbsize()
            self._broker.flushall()
        except redis.RedisError:
            return ""

        return f"{lost} keys lost"
