"""Start separate systems with their own servers: the service, or the baseline."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.benchmarks.scenarios import SystemUnderTest
from tools.local.gateway import GATEWAY
from tools.local.ports import free_ports
from tools.local.postgres import Postgres
from tools.local.programs import API_PORT_VARIABLE
from tools.local.rundir import RunDir
from tools.local.sandbox import PaymentSandbox
from tools.local.servers import DATABASE_VARIABLES
from tools.local.stack import Stack, running_stack
from tools.local.valkey import Valkey

__all__ = ["new_system"]

GIVEN = (*DATABASE_VARIABLES, "REDIS_URL", "CELERY_BROKER_URL", "SECRET_KEY", "DEBUG", "RUN_DIR")
PORTS = (
    Postgres.port_variable,
    Valkey.port_variable,
    PaymentSandbox.port_variable,
    API_PORT_VARIABLE,
)
# DEBUG costs time and keeps every statement in memory. gunicorn would restart API workers that were
# frozen for a long time.
SETTINGS = {"DEBUG": "off", "ALLOWED_HOSTS": "127.0.0.1", "GUNICORN_CMD_ARGS": "--timeout 600"}
BASELINE_SETTINGS = "tools.benchmarks.baseline.settings"


@contextlib.contextmanager
def new_system(*, baseline: bool = False, sandbox: bool = False) -> Iterator[SystemUnderTest]:
    """Start a new system with the durable servers and default settings of `make run`.

    It charges at the payment sandbox, or at the simulated gateway, which answers in a millisecond.
    """
    run_dir = RunDir(Path(tempfile.mkdtemp(prefix="benchmark-")))
    with contextlib.ExitStack() as contexts:
        contexts.callback(run_dir.remove)
        system = SystemUnderTest(
            contexts.enter_context(
                _stack(
                    run_dir,
                    "config.settings" if not baseline else BASELINE_SETTINGS,
                    gateway="stripe" if sandbox else "simulated",
                )
            ),
            baseline=baseline,
        )
        contexts.callback(system.close)
        yield system


@contextlib.contextmanager
def _stack(run_dir: RunDir, settings: str, *, gateway: str) -> Iterator[Stack]:
    with contextlib.ExitStack() as contexts:
        with _environment(settings, gateway):
            stack = contexts.enter_context(running_stack(run_dir))

        yield stack


@contextlib.contextmanager
def _environment(settings: str, gateway: str) -> Iterator[None]:
    """Set the environment for the start of a stack, without the servers that the user named."""
    before = dict(os.environ)
    for variable in [name for name in os.environ if name in GIVEN or name.startswith("STRIPE_")]:
        del os.environ[variable]

    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    chosen = {"DJANGO_SETTINGS_MODULE": settings, GATEWAY: gateway}
    os.environ.update({**chosen, **SETTINGS, **ports})

    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
