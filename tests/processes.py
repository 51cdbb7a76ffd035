"""Start real processes in tests: workers, API and beat, on the databases and broker of the test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import httpx
from django.db import connections

from services import VARIABLES
from tests.warm_start import WarmProcess
from tools.local.ports import free_port
from tools.local.processes import ORPHAN_REAPER

__all__ = ["LIMIT", "Process", "api", "beat", "environment", "until", "url", "worker"]

ROOT = Path(__file__).resolve().parent.parent

# How long a test waits for a process, in seconds.
LIMIT = 60

T = TypeVar("T")


class Process:
    """A process in a session of its own, with its output in a file."""

    def __init__(self, *arguments: str, log: Path, environ: Mapping[str, str]) -> None:
        self.arguments = arguments
        self.environ = {**environment(), **environ}
        self.log = log
        # The interpreter itself reads these variables, when it starts.
        self.is_cold = any(name.startswith("PYTHON") for name in environ)
        self.popen = self._start()

    def _start(self) -> "WarmProcess | subprocess.Popen[bytes]":
        start = _start_cold if self.is_cold else WarmProcess
        popen = start(*self.arguments, log=self.log, folder=ROOT, environ=self.environ)
        # A run that is killed leaves no process behind.
        ORPHAN_REAPER.watch(popen.pid, signal.SIGKILL)
        return popen

    def revive(self) -> None:
        """Restart the process if it has died, as a service manager does, and kill its children."""
        if self.popen.poll() is not None:
            self.kill()
            self.popen = self._start()

    def output(self) -> str:
        """Return the output of the process so far."""
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """Ask the process to stop, as a service manager does, and return its exit code."""
        self.popen.terminate()
        return self.popen.wait(LIMIT)

    def kill(self) -> None:
        """Kill the process and its children with SIGKILL."""
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self.popen.wait(LIMIT)
            ORPHAN_REAPER.forget(self.popen.pid)


def _start_cold(
    *arguments: str, log: Path, folder: Path, environ: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a module with an interpreter of its own."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def environment() -> dict[str, str]:
    """Return the environment for a process that uses the databases of this test."""
    urls = {variable: url(alias) for alias, variable in VARIABLES.items()}
    return {
        **os.environ,
        **urls,
        "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
        "PYTHONUNBUFFERED": "1",
    }


def until(
    condition: Callable[[], T],
    what: str,
    *,
    limit: float = LIMIT,
    process: Process | None = None,
    restarting: Collection[Process] = (),
) -> T:
    """Wait for a condition and return its value.

    After `limit` seconds, fail and show the output of `process`. While waiting, restart the
    processes of `restarting` that die.
    """
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        for died in restarting:
            died.revive()
        if value := condition():
            return value
        time.sleep(0.02)
    said = f"\n{process.output()[-8000:]}" if process else ""
    raise AssertionError(f"Not within {limit} s: {what}.{said}")


@contextmanager
def worker(
    *queues: str, environ: Mapping[str, str], concurrency: int = 1, more: Sequence[str] = ()
) -> Iterator[Process]:
    """Run a Celery worker on some queues, with more options if given."""
    name = f"{queues[0]}-{os.getpid()}-{time.monotonic_ns()}"
    options = (
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "-l",
        "INFO",
        "-n",
        f"{name}@test",
    )
    command = (
        "celery",
        "-A",
        "config",
        "worker",
        "-Q",
        ",".join(queues),
        "-c",
        str(concurrency),
        *options,
        *more,
    )
    with _running(*command, environ=environ) as process:
        until(lambda: " ready." in process.output(), "the worker is ready", process=process)
        yield process


@contextmanager
def api(*options: str, environ: Mapping[str, str]) -> Iterator[tuple[str, Process]]:
    """Run the API. Yield its address and its process."""
    address = f"127.0.0.1:{free_port()}"
    command = (
        "gunicorn",
        "config.wsgi",
        "--bind",
        address,
        "--threads",
        "4",
        *options,
    )
    with _running(*command, environ=environ) as process:
        until(lambda: _answers(f"http://{address}/healthz"), "the API answers", process=process)
        yield f"http://{address}", process


@contextmanager
def beat(*, environ: Mapping[str, str]) -> Iterator[Process]:
    """Run Celery beat."""
    command = ("celery", "-A", "config", "beat", "-s")
    with (
        TemporaryDirectory() as folder,
        _running(*command, f"{folder}/schedule", environ=environ) as process,
    ):
        yield process


@contextmanager
def _running(*command: str, environ: Mapping[str, str]) -> Iterator[Process]:
    with TemporaryDirectory() as folder:
        process = Process(*command, log=Path(folder) / "log", environ=environ)
        try:
            yield process
        finally:
            process.kill()


def _answers(address: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(address, timeout=2, trust_env=False).is_success
    return False


def url(alias: str) -> str:
    """Return the URL of a database of this test."""
    config = connections[alias].settings_dict
    return "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**config)
