"""Ctrl-C, SIGTERM and a closed terminal all mean the same: stop in order."""

import signal
import time
from types import FrameType

__all__ = ["stop_in_order"]

# `make` and `timeout` pass on a signal that we have had already; what comes later is a person in a
# hurry.
ECHO_SECONDS = 2.0


class _Interrupt:
    def __init__(self) -> None:
        self.first_at: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.first_at is None:
            self.first_at = now
        if now == self.first_at or now - self.first_at > ECHO_SECONDS:
            raise KeyboardInterrupt


def stop_in_order() -> None:
    """Turn the first signal to end into a KeyboardInterrupt; a second one, not at once,
    interrupts the stopping too.
    """
    interrupt = _Interrupt()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
