"""A Celery worker in a process of its own. A test may kill it, and it is started again."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.db import connections

from sagas.testing.variables import DATABASE_NAMES, HOST_SETTINGS

__all__ = ["WorkerProcess"]

OPTIONS = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")

# Seconds to wait for a process that was killed.
LIMIT = 30

# Characters of the output that an error shows.
MOST_SHOWN = 4_000


class WorkerProcess:
    """A worker with its output in a file. It ends with this process, even if that is killed."""

    def __init__(self, app: str, queues: list[str], *, log: Path, failpoints: Path) -> None:
        name = f"{log.stem}-{os.getpid()}@saga-testing"
        module = ("celery", "--app", app, "worker", "--include", "sagas.testing.worker")
        of_this = ("--queues", ",".join(queues), "--concurrency", "2", "--hostname", name)
        self._command = [sys.executable, "-m", *module, *of_this, *OPTIONS]
        self._environ = _environ(failpoints)
        self._log = log
        self._popen = self._start()

    @property
    def is_ready(self) -> bool:
        """Whether the worker takes messages."""
        return " ready." in self._log.read_text(errors="replace")

    def revive(self) -> None:
        """Start the worker again if it has died, as a service manager does."""
        if self._popen.poll() is not None:
            self.kill()
            self._popen = self._start()

    def output(self) -> str:
        """Return the end of the output."""
        return self._log.read_text(errors="replace")[-MOST_SHOWN:]

    def kill(self) -> None:
        """Kill the worker and its children with SIGKILL."""
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait(LIMIT)
        if self._popen.stdin:
            self._popen.stdin.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603  the command is our own
                self._command,
                env=self._environ,
                stdin=subprocess.PIPE,  # closes with this process: see `sagas.testing.worker`
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _environ(failpoints: Path) -> dict[str, str]:
    """Return the environment of a worker on the databases of this test.

    Raises `LookupError` if the project has no settings module.
    """
    module = getattr(settings, "SETTINGS_MODULE", None)
    if not module:
        raise LookupError("The workers need a settings module: set DJANGO_SETTINGS_MODULE.")

    names = {one.alias: str(one.settings_dict["NAME"]) for one in connections.all()}
    return {
        **os.environ,
        "FAILPOINTS": str(failpoints),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "sagas.testing.worker_settings",
        HOST_SETTINGS: module,
        DATABASE_NAMES: json.dumps(names),
    }
