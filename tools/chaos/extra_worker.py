"""A further worker of a service, of another release, which takes messages of the same queue."""

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from services import SERVICES
from tools.chaos.episodes import EpisodeFailed
from tools.local.processes import Process, poll
from tools.local.programs import worker_command
from tools.local.rundir import PROJECT
from tools.local.stack import Stack

__all__ = ["SETTINGS", "ExtraWorker", "LogWatch", "within"]

SETTINGS = "DJANGO_SETTINGS_MODULE"
# Seconds until a worker takes messages, on a busy machine and with servers that are killed.
READY_SECONDS = 120.0
PAUSE_SECONDS = 0.2
IS_READY = r" ready\."


class LogWatch:
    """The part of a log that was written after this object was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._from = path.stat().st_size if path.exists() else 0

    def matches(self, pattern: str) -> bool:
        """Tell whether a pattern is in the new part of the log."""
        if not self._path.exists():
            return False
        with self._path.open(errors="replace") as log:
            log.seek(self._from)
            return re.search(pattern, log.read()) is not None


class ExtraWorker:
    """A worker that runs beside the one of the stack, and is restarted if it dies."""

    def __init__(self, stack: Stack, service: str, *, name: str, **environ: str) -> None:
        """Take messages of the queue of `service`, with further variables in the environment."""
        (declared,) = (each for each in SERVICES if each.name == service)
        self.log = stack.run_dir.log(name)
        self._process = Process(
            name,
            worker_command(declared, name=name),
            log=self.log,
            env=stack.env | environ,
            cwd=PROJECT,
        )

    def start(self) -> None:
        """Start, and wait until it takes messages. Raises EpisodeFailed if it does not."""
        watch = LogWatch(self.log)
        if not within(READY_SECONDS, lambda: self._revived() and watch.matches(IS_READY)):
            self.stop()
            raise EpisodeFailed(f"The worker {self._process.name} did not start.")

    def stop(self) -> None:
        """Let it end its steps, and stop it."""
        self._process.stop()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the worker while the context lasts."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def _revived(self) -> bool:
        """Start the worker again if it has died, as it does while the servers are away."""
        if not self._process.running:
            self._process.start()
        return True


def replace_program(stack: Stack, program: str, settings: str) -> None:
    """Let the supervisor start a program again, with other settings. Wait until it has.

    Raises EpisodeFailed if it has not.
    """
    process = stack.processes[program]
    process.env = {**(process.env or {}), SETTINGS: settings}
    before = process.pid
    process.signal(signal.SIGTERM)
    if not within(READY_SECONDS, lambda: process.pid not in {None, before}):
        raise EpisodeFailed(f"The program {program} did not start again.")


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait until a condition is true; return False if it is not after some seconds."""
    return any(condition() for _ in poll(seconds, pause=PAUSE_SECONDS))
