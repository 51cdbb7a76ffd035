"""One program of the stack: started in a session of its own, and never left behind."""

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

__all__ = ["GUARD", "Process"]

HERE = Path(__file__).parent
BARE_PYTHON = (sys.executable, "-I", "-S")
# The kernel ties a child to the thread that forked it, so one thread that lives as long as this
# process forks them all.
SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class Process:
    """A program that can be started, stopped, killed and frozen, again and again."""

    def __init__(  # noqa: PLR0913  # by keyword, and what the kernel needs to know of a program is this much
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
        patience: float = 20.0,
    ) -> None:
        """Describe a program.

        `user` is the uid to drop to (0: none); `stop_signal` asks it to end, within `patience`
        seconds; `death_signal` is what it gets when this process dies.
        """
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = env
        self.cwd = cwd
        self.user = user
        self.stop_signal = stop_signal
        self.death_signal = death_signal
        self.patience = patience
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None while the program is down."""
        return self._popen.pid if self._popen else None

    @property
    def running(self) -> bool:
        """Whether the program is up; buries it, with whatever children it left, when it is not."""
        if self._popen and self._popen.poll() is not None:
            self._bury()
        return self._popen is not None

    def start(self) -> None:
        """Start the program; it is up, but not yet ready, when this returns."""
        if not self.running:
            self._popen = SPAWNER.submit(self._spawn).result()
            GUARD.watch(self._popen.pid, self.death_signal)

    def stop(self) -> None:
        """Ask the program to end; kill it, and its children, when it has not after its patience."""
        if self.running:
            self.thaw()
            self.signal(self.stop_signal)
            self._wait(self.patience)
            self.kill()

    def kill(self) -> None:
        """Kill the program and all its descendants with SIGKILL, at once."""
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._wait(None)

    def freeze(self) -> None:
        """Stop the program and its descendants where they are, with SIGSTOP: a machine that
        hangs.
        """
        self._signal_tree(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen program and its descendants go on."""
        self._signal_tree(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal to the program itself."""
        if self._popen:
            self._popen.send_signal(number)

    def tree(self) -> list[psutil.Process]:
        """Return the program's process, then its descendants; nothing while it is down."""
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
            str(HERE / "launch.py"),
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
                self._bury()

    def _bury(self) -> None:
        """Take along the children that a killed parent leaves: a worker's pool would wait for
        work for ever.
        """
        if self._popen:
            group, self._popen = self._popen.pid, None
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
            GUARD.forget(group)


class Guard:
    """This side of the pipe to `guard.py`, which ends our process groups when we are killed."""

    def __init__(self) -> None:
        """Start nothing yet: the guard starts with the first group."""
        self._groups: dict[int, int] = {}
        self._popen: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def watch(self, group: int, death_signal: int) -> None:
        """Have a process group ended when this process dies."""
        with self._lock:
            self._groups[group] = death_signal
            self._tell(f"+{group} {int(death_signal)}\n")

    def forget(self, group: int) -> None:
        """Leave a process group alone from now on: its number may go to another program."""
        with self._lock:
            self._groups.pop(group, None)
            self._tell(f"-{group}\n")

    def close(self) -> None:
        """Let the guard go, as this process ends."""
        if self._popen and self._popen.stdin:
            self._popen.stdin.close()
            self._popen.wait()

    def _tell(self, line: str) -> None:
        if self._popen and self._popen.poll() is None and self._popen.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.write(line.encode())
                return
        if self._groups:
            self._start()

    def _start(self) -> None:
        self._popen = subprocess.Popen(
            [*BARE_PYTHON, str(HERE / "guard.py")],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        everything = "".join(f"+{group} {number}\n" for group, number in self._groups.items())
        if self._popen.stdin:
            self._popen.stdin.write(everything.encode())


GUARD = Guard()
atexit.register(GUARD.close)


def wait_until_gone(processes: Sequence[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Wait for processes that are no children of ours to end; return those that have not."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return list(alive)


def moments(seconds: float, *, pause: float = 0.05) -> Iterator[float]:
    """Yield the seconds left, a moment apart, until the time is up: for waiting on a condition,
    with a limit.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        yield left
        time.sleep(pause)
