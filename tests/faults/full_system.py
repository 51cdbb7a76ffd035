"""The whole system in real processes, with two workers for each service. Dead processes are
restarted.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx

from sagas.testing.armed_faults import ArmedFaults
from services import NAMES as SERVICES
from tests.processes import Process, until
from tools.local.ports import free_port

__all__ = ["SERVICES", "FullSystem", "full_system_in"]

# Short times, so that leases, stalls and redeliveries are over soon. The task time limit is longer
# than the longest freeze: a resumed process must have lost its lease and still be alive.
TIMES = {
    "OUTBOX_FLUSH_SECONDS": "0.5",
    "SAGA_STALL_SECONDS": "1.5",
    "SAGA_LEASE_SECONDS": "1",
    "TASK_TIME_LIMIT": "30",
}
# The API process that uses the saga `authorize_first`.
AUTHORIZING = "api-authorizing"

QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO")

T = TypeVar("T")


class FullSystem:
    """The processes by name, and their commands. Waiting also restarts dead processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults = ArmedFaults(folder / "failpoints")
        self.url = f"http://127.0.0.1:{free_port()}"
        self.authorizing_url = f"http://127.0.0.1:{free_port()}"
        self.commands = {
            **{
                f"{service}-{number}": _worker(service, number)
                for service in SERVICES
                for number in (1, 2)
            },
            "beat": ("celery", "-A", "config", "beat", "-s", str(folder / "schedule")),
            "api": _api(self.url),
            AUTHORIZING: _api(self.authorizing_url),
        }
        self.processes: dict[str, Process] = {}

    def start(self, name: str) -> None:
        """Start a process."""
        saga = "authorize_first" if name == AUTHORIZING else "charge_first"
        environ = {**TIMES, "FAILPOINTS": str(self.faults.directory), "ORDER_SAGA": saga}
        log = self.folder / f"{name}.log"
        self.processes[name] = Process(*self.commands[name], log=log, environ=environ)

    def until(self, condition: Callable[[], T], label: str, *, limit: float = 200) -> T:
        """Wait for a condition, and restart dead processes meanwhile."""
        try:
            return until(condition, label, limit=limit, restarting=self.processes.values())
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def logs(self) -> str:
        """Return the end of each process's output."""
        return "\n".join(
            f"--- {name}\n{process.output()[-2500:]}" for name, process in self.processes.items()
        )

    @contextmanager
    def paused(self, service: str) -> Iterator[None]:
        """Suspend the workers of a service while the context lasts. Its messages wait in the
        broker.
        """
        held = [
            process.popen.pid
            for name, process in self.processes.items()
            if name.startswith(service)
        ]
        _signal(held, signal.SIGSTOP)

        try:
            yield
        finally:
            _signal(held, signal.SIGCONT)

    def ready(self) -> bool:
        """Return whether every worker accepts messages and both APIs answer."""
        workers = [process for name, process in self.processes.items() if name.startswith(SERVICES)]
        apis = (self.url, self.authorizing_url)
        return all(" ready." in worker.output() for worker in workers) and all(
            _answers(url) for url in apis
        )


@contextmanager
def full_system_in(folder: Path) -> Iterator[FullSystem]:
    """Run the system while the context lasts."""
    (folder / "failpoints").mkdir()
    system = FullSystem(folder)

    try:
        for name in system.commands:
            system.start(name)

        system.until(system.ready, "the system is ready")
        yield system
    finally:
        for process in system.processes.values():
            process.kill()


def _answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/healthz", timeout=2, trust_env=False).is_success
    return False


def _worker(service: str, number: int) -> tuple[str, ...]:
    node = f"{service}-{number}-{os.getpid()}@faults"
    return ("celery", "-A", "config", "worker", "-Q", service, "-c", "2", "-n", node, *QUIET)


def _api(url: str) -> tuple[str, ...]:
    bind = url.removeprefix("http://")
    return (
        "gunicorn",
        "config.wsgi",
        "--bind",
        bind,
        "--workers",
        "3",
        "--threads",
        "4",
    )


def _signal(groups: list[int], number: signal.Signals) -> None:
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, number)
