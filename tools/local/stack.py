"""Start the whole system under one supervisor: servers, migrations, workers, API and beat."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx

from tools.local.errors import ServerFailed
from tools.local.ports import HOST, require_free
from tools.local.processes import Process, poll
from tools.local.programs import API_PORT_VARIABLE, PROGRAMS, Program, api_port, manage
from tools.local.rundir import PROJECT, RunDir, log_tail
from tools.local.servers import Servers, local_servers
from tools.local.supervisor import Child, Supervisor

__all__ = ["ADMIN", "Stack", "running_stack"]

ADMIN = "admin"
READY_SECONDS = 60.0
WATCH_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A running system: its run directory, API address and environment.

    `processes` are the programs by name, if this process supervises them.
    """

    run_dir: RunDir
    api: str
    env: dict[str, str]
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def admin_password(self) -> str:
        """The password of the user `admin`."""
        return self.run_dir.secret("admin")

    @property
    def sandbox(self) -> str | None:
        """The address of the sandbox or server that stands in for Stripe, if any."""
        return self.env.get("STRIPE_API_BASE")

    def pid(self, program: str) -> int | None:
        """Return the id of a program's main process, or None while it is down."""
        found = self.run_dir.read_state().get("programs", {}).get(program)
        return int(found) if found else None

    def manage(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a management command; return its output and exit code."""
        env = self.env | variables
        return subprocess.run(
            manage(*arguments), cwd=PROJECT, env=env, capture_output=True, text=True, check=False
        )

    @classmethod
    def attach(cls, run_dir: RunDir) -> "Stack":
        """Return the stack that another process runs in `run_dir`.

        Raises ServerFailed if that process has not started the API.
        """
        api = run_dir.read_state().get("api")
        if not api:
            raise ServerFailed(
                f"Another process uses {run_dir.path}, but its API is not up. "
                f"Wait until it is, or stop that process."
            )

        return cls(run_dir=run_dir, api=api, env=environment(run_dir, run_dir.read_env()))


def environment(run_dir: RunDir, servers: dict[str, str]) -> dict[str, str]:
    """Return the environment for the programs of the service.

    Free products are on unless the user says otherwise, because the demo sells one.
    """
    return (
        {"FREE_PRODUCTS": "on"}
        | os.environ
        | servers
        | {"RUN_DIR": str(run_dir.path), "PYTHONUNBUFFERED": "1"}
    )


@contextlib.contextmanager
def running_stack(run_dir: RunDir, *, notify: Callable[[str], None] = print) -> Iterator[Stack]:
    """Run the whole system while the context lasts; raise a LocalError if it cannot start.

    Calls `notify` with a line for each program that dies.
    """
    servers = local_servers(run_dir)
    port = api_port()

    with run_dir.locked():
        require_free(port, API_PORT_VARIABLE)
        for server in servers.needed:
            require_free(server.port, server.port_variable)

        stack = Stack(
            run_dir=run_dir, api=f"http://{HOST}:{port}", env=environment(run_dir, servers.env)
        )
        with servers.up():
            run_dir.write_env(servers.env)
            _run_or_fail(run_dir, "migrate_all", env=stack.env)

            with _supervised(stack, servers, notify):
                _create_admin(stack)
                _wait_until_ready(stack)
                yield stack


@contextlib.contextmanager
def _supervised(stack: Stack, servers: Servers, notify: Callable[[str], None]) -> Iterator[None]:
    def on_change(pids: dict[str, int]) -> None:
        stack.run_dir.write_state({"supervisor": os.getpid(), "api": stack.api, "programs": pids})

    supervisor = Supervisor(_children(stack, servers), notify=notify, on_change=on_change)
    stopping = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(supervisor, stopping), name="supervisor", daemon=True
    )

    try:
        supervisor.start()
        watch.start()
        yield
    finally:
        stopping.set()
        if watch.ident:
            watch.join()

        supervisor.stop()


def _watch(supervisor: Supervisor, stopping: threading.Event) -> None:
    while not stopping.wait(WATCH_SECONDS):
        supervisor.run_once(time.monotonic())


def _children(stack: Stack, servers: Servers) -> list[Child]:
    """Return servers and programs as children of the supervisor.

    The running servers get the lowest stages, so that they stop last.
    """
    stack.processes.update({program.name: _process(stack, program) for program in PROGRAMS})
    needed = servers.needed
    below = [
        Child(process=server, stage=order - len(needed)) for order, server in enumerate(needed)
    ]
    return [
        *below,
        *(
            Child(process=stack.processes[program.name], stage=program.stage)
            for program in PROGRAMS
        ),
    ]


def _process(stack: Stack, program: Program) -> Process:
    places = {"run_dir": stack.run_dir.path, "api_port": api_port()}
    return Process(
        program.name,
        [part.format_map(places) for part in program.command],
        log=stack.run_dir.log(program.name),
        env=stack.env,
        cwd=PROJECT,
        stop_timeout=program.stop_timeout,
    )


def _run_or_fail(run_dir: RunDir, command: str, *, env: dict[str, str]) -> None:
    log = run_dir.log(command)
    with log.open("wb") as output:
        done = subprocess.run(
            manage(command), cwd=PROJECT, env=env, stdout=output, stderr=output, check=False
        )

    if done.returncode:
        raise ServerFailed(
            f"`manage.py {command}` failed. Its log {log} ends with:\n{log_tail(log)}"
        )


def _create_admin(stack: Stack) -> None:
    arguments = ("createsuperuser", "--noinput", "--username", ADMIN, "--email", "admin@localhost")
    done = stack.manage(*arguments, DJANGO_SUPERUSER_PASSWORD=stack.admin_password)
    if done.returncode and "already taken" not in done.stderr:
        raise ServerFailed(
            f"`manage.py createsuperuser` failed, so there is no admin user: {done.stderr.strip()}"
        )


def _wait_until_ready(stack: Stack) -> None:
    for _ in poll(READY_SECONDS):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{stack.api}/readyz", timeout=5, trust_env=False).is_success:
                return

    log = stack.run_dir.log("api")
    raise ServerFailed(
        f"The API is not ready after {READY_SECONDS:.0f} s. "
        f"Its log {log} ends with:\n{log_tail(log)}"
    )
