"""Handle Ctrl-C, SIGTERM and a closed terminal alike: stop in order."""

import signal
import time
from types import FrameType

__all__ = ["stop_in_order"]

# `make` and `timeout` forward a signal that this process also gets directly. A second signal that
# comes later than this is from the user.
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
    """Raise KeyboardInterrupt for SIGINT, SIGTERM and SIGHUP.

    Signals within ECHO_SECONDS of the first are ignored. A later signal also interrupts the
    shutdown.
    """
    interrupt = _Interrupt()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
