"""A program of the stack. It runs in its own session, and ends when this process ends."""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

__all__ = ["ORPHAN_REAPER", "Process"]

HERE = Path(__file__).parent
BARE_PYTHON = (sys.executable, "-I", "-S")
# The kernel sends the death signal when the forking thread ends. One thread, which lives as long
# as this process, forks all programs.
SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class Process:
    """A program that can be started, stopped, killed and frozen repeatedly."""

    def __init__(  # noqa: PLR0913  # all by keyword
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int = 0,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
        stop_timeout: float = 20.0,
    ) -> None:
        """Describe a program.

        `user` is the uid to drop to (0: keep the user). `stop_signal` asks the program to end
        within `stop_timeout` seconds. The kernel sends `death_signal` when this process dies.
        """
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = env
        self.cwd = cwd
        self.user = user
        self.stop_signal = stop_signal
        self.death_signal = death_signal
        self.stop_timeout = stop_timeout
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None while the program is down."""
        return self._popen.pid if self._popen else None

    @property
    def running(self) -> bool:
        """Whether the program is up. Kills the remaining children of a program that has ended."""
        if self._popen and self._popen.poll() is not None:
            self._clean_up()
        return self._popen is not None

    def start(self) -> None:
        """Start the program. It may not be ready yet when this returns."""
        if not self.running:
            self._popen = SPAWNER.submit(self._spawn).result()
            ORPHAN_REAPER.watch(self._popen.pid, self.death_signal)

    def stop(self) -> None:
        """Ask the program to end; kill it and its children after `stop_timeout` seconds."""
        if self.running:
            self.thaw()
            self.signal(self.stop_signal)
            self._wait(self.stop_timeout)
            self.kill()

    def kill(self) -> None:
        """Kill the program and all its descendants with SIGKILL, at once."""
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._wait(None)

    def freeze(self) -> None:
        """Suspend the program and its descendants with SIGSTOP, like a machine that hangs."""
        self._signal_tree(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume a frozen program and its descendants."""
        self._signal_tree(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal to the program itself."""
        popen = self._popen  # the supervisor may take note of its end meanwhile
        if popen:
            popen.send_signal(number)

    def tree(self) -> list[psutil.Process]:
        """Return the program's process, then its descendants; an empty list while it is down."""
        if not self.running or self.pid is None:
            return []

        with contextlib.suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.pid)
            return [main, *main.children(recursive=True)]

        return []

    def _signal_tree(self, number: int) -> None:
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _spawn(self) -> subprocess.Popen[bytes]:
        tie = [
            *BARE_PYTHON,
            str(HERE / "exec_tied_to_parent.py"),
            str(os.getpid()),
            str(int(self.death_signal)),
            str(self.user),
        ]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*tie, *self.command],
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait(self, seconds: float | None) -> None:
        if self._popen:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(seconds)
                self._clean_up()

    def _clean_up(self) -> None:
        """Kill the children of an ended program: a worker's pool would wait for work forever."""
        if self._popen:
            group, self._popen = self._popen.pid, None
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)

            ORPHAN_REAPER.forget(group)


class OrphanReaper:
    """Starts `orphan_reaper.py`, which ends our process groups when this process is killed."""

    def __init__(self) -> None:
        """Create a reaper. Its process starts with the first group."""
        self._groups: dict[int, int] = {}
        self._popen: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def watch(self, group: int, death_signal: int) -> None:
        """End a process group when this process dies."""
        with self._lock:
            self._groups[group] = death_signal
            self._write(f"+{group} {int(death_signal)}\n")

    def forget(self, group: int) -> None:
        """Forget a process group, because another program may get its number."""
        with self._lock:
            self._groups.pop(group, None)
            self._write(f"-{group}\n")

    def close(self) -> None:
        """End the reaper's process."""
        if self._popen and self._popen.stdin:
            self._popen.stdin.close()
            self._popen.wait()

    def _write(self, line: str) -> None:
        if self._popen and self._popen.poll() is None and self._popen.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.write(line.encode())
                return

        if self._groups:
            self._start()

    def _start(self) -> None:
        self._popen = subprocess.Popen(
            [*BARE_PYTHON, str(HERE / "orphan_reaper.py")],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        lines = "".join(f"+{group} {number}\n" for group, number in self._groups.items())
        if self._popen.stdin:
            self._popen.stdin.write(lines.encode())


ORPHAN_REAPER = OrphanReaper()
atexit.register(ORPHAN_REAPER.close)


def wait_until_gone(processes: Sequence[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Wait up to `seconds` for processes to end; return the processes that still run.

    They need not be children of this process.
    """
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return list(alive)


def poll(seconds: float, *, pause: float = 0.05) -> Iterator[float]:
    """Yield the remaining seconds every `pause` seconds, until `seconds` have passed.

    Use it to wait for a condition with a time limit.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        yield left
        time.sleep(pause)
