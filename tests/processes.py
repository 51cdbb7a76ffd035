"""Start real processes in tests: workers, API and beat, on the databases and broker of the test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import httpx
from django.db import connections

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
        self.popen = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", *self.arguments],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        ORPHAN_REAPER.watch(
            popen.pid, signal.SIGKILL
        )  # a run that is killed leaves no process behind
        return popen

    def revive(self) -> None:
        """Restart the process if it has died, as a service manager does, and kill its children."""
        if self.popen.poll() is not None:
            self.kill()
            self.popen = self._start()

    def output(self) -> str:
        """Return the output of the process so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill the process and its children with SIGKILL."""
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self.popen.wait(LIMIT)
            ORPHAN_REAPER.forget(self.popen.pid)


def environment() -> dict[str, str]:
    """Return the environment for a process that uses the databases of this test."""
    variables = {
        "default": "DATABASE_URL",
        "payments": "PAYMENTS_DATABASE_URL",
        "inventory": "INVENTORY_DATABASE_URL",
    }
    urls = {variable: url(alias) for alias, variable in variables.items()}
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
def worker(*queues: str, environ: Mapping[str, str], concurrency: int = 1) -> Iterator[Process]:
    """Run a Celery worker on some queues."""
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
        "--worker-class",
        "gthread",
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
