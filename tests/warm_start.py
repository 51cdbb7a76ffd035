"""Start Python programs from a process that has imported the libraries already.

The libraries are half of the CPU time of a worker's start, and the tests start thousands of
workers. Settings and apps are imported in the new process, because they depend on its environment.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

__all__ = ["WarmProcess"]

# Libraries that read no settings and no environment when they are imported, and start no thread.
# Gunicorn reads its environment then.
LIBRARIES = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "django.contrib.postgres.fields",
    "django.contrib.postgres.indexes",
    "django.core.management",
    "django.db.backends.postgresql.base",
    "django.db.models",
    "django.forms",
    "django.http",
    "django.template.loader",
    "django.urls",
    "django.views.debug",
    "django.views.generic",
    "environ",
    "httpx",
    "jinja2.ext",
    "kombu.transport.redis",
    "msgspec",
    "opentelemetry.trace",
    "psycopg",
    "redis",
    "requests",
    "stripe",
    "structlog",
    "uritemplate",
    "uuid_utils",
)

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*LIBRARIES, "tests.frozen"])

# One process starts at a time: `multiprocessing` counts its children without a lock.
_starting = threading.Lock()


class WarmProcess:
    """A running `python -m MODULE`, with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self, *arguments: str, log: Path, folder: Path, environ: Mapping[str, str]
    ) -> None:
        """Start a module in a session of its own, with its output at the end of `log`."""
        has_session, session = _context.Pipe(duplex=False)
        given = (session, arguments, str(log), str(folder), dict(environ))
        with _starting, has_session, session:
            self._process: ForkServerProcess = _context.Process(
                target=_run, args=given, daemon=True
            )
            self._process.start()
            session.close()
            has_session.recv()  # so that a kill of the session reaches the process

    @property
    def pid(self) -> int:
        """The process id."""
        pid = self._process.pid
        assert pid is not None
        return pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self.poll()

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code. Raises TimeoutExpired after `timeout` seconds."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)


def _run(
    session: Connection,
    arguments: tuple[str, ...],
    log: str,
    folder: str,
    environ: dict[str, str],
) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.setsid()
    session.send(None)
    session.close()
    sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]  # a text file

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    module, *options = arguments
    sys.argv = [module, *options]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes without them
