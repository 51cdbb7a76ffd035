"""Strikes each fault when its time has come, and notes what was struck, and when last."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tools.chaos.faults import FLUSHALL, Fault
from tools.chaos.victims import Victims
from tools.local.stack import Stack

__all__ = ["Mayhem"]

PAUSE_SECONDS = 0.02


class Mayhem:
    """The faults of one soak, those to come and those that have struck."""

    def __init__(
        self,
        stack: Stack,
        faults: list[Fault],
        *,
        answered: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        """Take the faults, what tells how many orders are `answered`, and what to `say` each
        strike to.
        """
        self.pending = list(faults)
        self.struck: Counter[str] = Counter()
        self.last_at = datetime.now(UTC)
        self._victims = Victims(stack)
        self._broker = redis.Redis.from_url(
            stack.env["REDIS_URL"], socket_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        self._answered = answered
        self._say = say
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mayhem", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def finish(self, *, seconds: float) -> None:
        """Wait until the last fault has struck, at most so long: a victim may be on its way
        back.
        """
        self._thread.join(seconds)
        self._enough.set()
        self._thread.join()

    def run_once(self) -> int:
        """Strike the first fault that is due and finds its victim alive; return how many that
        was.
        """
        due = (fault for fault in self.pending if fault.after <= self._answered())
        fault = next((fault for fault in due if self._strike(fault)), None)
        if fault is None:
            return 0
        self.pending.remove(fault)
        self.struck[fault.kind] += 1
        self.last_at = datetime.now(UTC)
        return 1

    def _run(self) -> None:
        while self.pending and not self._enough.is_set():
            if not self.run_once():
                self._enough.wait(PAUSE_SECONDS)

    def _strike(self, fault: Fault) -> bool:
        struck = self._flush() if fault.kind == FLUSHALL else self._kill(fault)
        if struck:
            self._say(f"{fault.kind}: {struck}, with {self._answered()} orders answered")
        return bool(struck)

    def _kill(self, fault: Fault) -> str:
        try:
            return self._victims.kill(fault.kind, choice=fault.choice)
        except psutil.NoSuchProcess:
            return ""

    def _flush(self) -> str:
        try:
            lost = self._broker.dbsize()
            self._broker.flushall()
        except redis.RedisError:
            return ""
        return f"{lost} keys lost"
