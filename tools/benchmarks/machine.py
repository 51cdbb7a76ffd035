"""Measure CPU seconds and peak memory of the processes of a stack."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from tools.local import programs
from tools.local.stack import Stack

__all__ = ["PROGRAMS", "WORKERS", "cpu_seconds", "frozen", "peak_memory"]

# The programs that `frozen` suspends unless others are named.
WORKERS = (*programs.WORKERS, "beat")
PROGRAMS = (*WORKERS, "api", "postgres", "valkey")
MEGABYTE = 1_000_000


def cpu_seconds(stack: Stack) -> Counter[str]:
    """Return the CPU seconds that each kind of process has used since its start."""
    used: Counter[str] = Counter()
    for name, process in _processes(stack):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            # Includes ended children, such as PostgreSQL's autovacuum workers.
            used[name] += times.user + times.system + times.children_user + times.children_system

    return used


def peak_memory(stack: Stack) -> dict[str, float]:
    """Return the peak memory of the largest process of each kind, in megabytes.

    For PostgreSQL it includes the shared buffers that the process used.
    """
    peaks: dict[str, float] = {}
    for name, process in _processes(stack):
        with contextlib.suppress(OSError, StopIteration):
            peaks[name] = max(peaks.get(name, 0.0), _high_water(process.pid) / MEGABYTE)

    return peaks


@contextlib.contextmanager
def frozen(stack: Stack, names: tuple[str, ...] = WORKERS) -> Iterator[None]:
    """Suspend programs of a stack while the context lasts."""
    processes = [process for name, process in _processes(stack) if name.partition(":")[0] in names]
    for process in processes:
        process.suspend()

    try:
        yield
    finally:
        for process in processes:
            process.resume()


def _processes(stack: Stack) -> Iterator[tuple[str, psutil.Process]]:
    """Yield each live process of a stack and its kind.

    A worker's main process and its children are different kinds.
    """
    for program in PROGRAMS:
        if pid := stack.pid(program):
            main = psutil.Process(pid)
            split = program.startswith("worker-")
            yield program + (": main" if split else ""), main
            for child in main.children(recursive=True):
                yield program + (": children" if split else ""), child


def _high_water(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
