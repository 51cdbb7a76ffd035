"""`python -m tools.local run`: the system starts, restarts dead programs, stops in order, and
leaves no process behind when it is killed.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.local.waiting import eventually
from tools.local.ports import free_port
from tools.local.postgres import Postgres
from tools.local.programs import PROGRAMS
from tools.local.rundir import PROJECT, RunDir
from tools.local.sandbox import PaymentSandbox
from tools.local.servers import DATABASE_VARIABLES
from tools.local.valkey import Valkey

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


class RunningSystem:
    """A process of `python -m tools.local run`."""

    def __init__(self, run_dir: RunDir) -> None:
        servers = (Postgres, Valkey, PaymentSandbox)
        ports = {
            name: str(free_port())
            for name in (*(server.port_variable for server in servers), "API_PORT")
        }
        own_variables = {
            *DATABASE_VARIABLES,
            "REDIS_URL",
            "CELERY_BROKER_URL",
            "SECRET_KEY",
            "DEBUG",
            "DJANGO_SETTINGS_MODULE",
        }
        own_variables |= {
            name for name in os.environ if name.startswith(("PAYMENT_GATEWAY", "STRIPE_"))
        }
        env = {name: value for name, value in os.environ.items() if name not in own_variables}
        self.run_dir = run_dir
        self.env = env | ports | {"RUN_DIR": str(run_dir.path)}
        self.api = f"http://127.0.0.1:{ports['API_PORT']}"
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tools.local", "run"],
            env=self.env,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""

    def wait_until_up(self) -> None:
        """Read the output until the system prints its addresses."""
        assert self.popen.stdout
        for line in self.popen.stdout:
            self.output += line
            if "Ctrl-C stops it" in line:
                return

        pytest.fail(f"The system did not start:\n{self.output}")

    def pid(self, program: str) -> int:
        """Return a program's process id from the run directory."""
        return int(self.run_dir.read_state()["programs"].get(program, 0))

    def processes(self) -> list[psutil.Process]:
        """Return all processes that the system has started."""
        return list(psutil.Process(self.popen.pid).children(recursive=True))


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RunningSystem]]:
    """Return a function that starts a system. All systems use the same run directory."""
    run_dir = RunDir(tmp_path_factory.mktemp("stack") / "run")
    started: list[RunningSystem] = []

    def start() -> RunningSystem:
        started.append(RunningSystem(run_dir))
        started[-1].wait_until_up()
        return started[-1]

    yield start
    for system in started:
        system.popen.terminate()
        system.popen.communicate()

    run_dir.remove()


def ended(process: psutil.Process) -> bool:
    """Return whether a process is gone or a zombie."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.faults
def test_the_system_restarts_killed_programs_and_leaves_no_process_when_killed(
    running: Callable[[], RunningSystem],
) -> None:
    first = running()
    assert httpx.get(f"{first.api}/readyz", trust_env=False).status_code == 200

    victims = {
        name: first.pid(name) for name in ("worker-payments", "postgres", "valkey", "sandbox")
    }
    for pid in victims.values():
        os.kill(pid, signal.SIGKILL)

    assert eventually(lambda: all(first.pid(name) not in {0, old} for name, old in victims.items()))
    assert eventually(lambda: httpx.get(f"{first.api}/readyz", trust_env=False).status_code == 200)

    processes = first.processes()
    assert len(processes) > len(PROGRAMS) + 2
    first.popen.kill()
    assert eventually(lambda: all(ended(process) for process in processes))

    second = running()  # with the data and the locks of the killed system
    refused = subprocess.run(
        [sys.executable, "-m", "tools.local", "run"],
        env=second.env,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert f"is already running as process {second.popen.pid}" in refused.stderr

    processes = second.processes()
    second.popen.terminate()
    assert second.popen.wait(60) == 0
    assert all(ended(process) for process in processes)
    assert "shut down" in second.run_dir.log("postgres").read_text()


def test_the_run_directory_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_DIR", str(tmp_path))
    assert RunDir().path == tmp_path
