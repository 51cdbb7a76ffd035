"""End the processes of a killed supervisor. Run as a script that reads a pipe from stdin.

The supervisor writes `+GROUP SIGNAL` for each process group it starts and `-GROUP` for each group
that has ended. The pipe closes when the supervisor dies. The kernel's death signal is not enough:
it does not reach the children of a worker, and only Linux has it. Standard library only.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

STOP_SECONDS = 5.0


def watch(lines: Iterable[str]) -> dict[int, int]:
    """Read the pipe until it closes; return the remaining groups and their end signals."""
    groups: dict[int, int] = {}
    for line in lines:
        group, *death_signal = line[1:].split()
        if line.startswith("+"):
            groups[int(group)] = int(death_signal[0])
        else:
            groups.pop(int(group), None)

    return groups


def end(groups: dict[int, int], *, seconds: float = STOP_SECONDS) -> None:
    """Send each group its signal, and SIGKILL to the groups that remain after `seconds`."""
    for group, death_signal in groups.items():
        _signal(group, death_signal)

    deadline = time.monotonic() + seconds
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
