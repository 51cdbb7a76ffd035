"""Outlive a killed supervisor just long enough to end what it started. Run as a script; its stdin
is a pipe.

The pipe carries `+GROUP SIGNAL` for each process group that was started and `-GROUP` for each that
is gone. It closes when the supervisor dies, however it dies. What the kernel's death signal cannot
do is done here: the children of a worker are not tied to it, and other systems than Linux know no
death signal. Standard library only.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

PATIENCE_SECONDS = 5.0


def watch(lines: Iterable[str]) -> dict[int, int]:
    """Follow the pipe until it closes; return the groups still there, each with the signal that
    ends it.
    """
    groups: dict[int, int] = {}
    for line in lines:
        group, *death_signal = line[1:].split()
        if line.startswith("+"):
            groups[int(group)] = int(death_signal[0])
        else:
            groups.pop(int(group), None)
    return groups


def end(groups: dict[int, int], *, patience: float = PATIENCE_SECONDS) -> None:
    """Send each group its signal, and SIGKILL to what is left after `patience` seconds."""
    for group, death_signal in groups.items():
        _signal(group, death_signal)
    deadline = time.monotonic() + patience
    while any(_signal(group, 0) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    end(watch(sys.stdin))
