"""A separate system for the soak: a new run directory, free ports, and no server of the user."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tools.local.ports import free_ports
from tools.local.postgres import Postgres
from tools.local.programs import API_PORT_VARIABLE
from tools.local.rundir import RunDir
from tools.local.sandbox import PaymentSandbox
from tools.local.servers import DATABASE_VARIABLES
from tools.local.stack import Stack, running_stack
from tools.local.valkey import Valkey

__all__ = ["Journal", "isolated_stack", "new_run_dir"]

IGNORED_VARIABLES = (
    *(*DATABASE_VARIABLES, "REDIS_URL", "CELERY_BROKER_URL", "SECRET_KEY", "DEBUG", "RUN_DIR"),
    *("STRIPE_API_KEY", "STRIPE_API_BASE", "STRIPE_WEBHOOK_SECRET"),
)
PORTS = (
    Postgres.port_variable,
    Valkey.port_variable,
    PaymentSandbox.port_variable,
    API_PORT_VARIABLE,
)


class Journal:
    """Logs each fault and each restart to `chaos.log`, beside the logs of the programs."""

    def __init__(self, run_dir: RunDir) -> None:
        """Write to `chaos.log` in a run directory."""
        self.path = run_dir.log("chaos")

    def __call__(self, news: str) -> None:
        """Append a line with the time."""
        with self.path.open("a") as journal:
            journal.write(f"{datetime.now(UTC):%H:%M:%S.%f} {news}\n")


def new_run_dir() -> RunDir:
    """Create a run directory in the system's temporary directory."""
    run_dir = RunDir(Path(tempfile.mkdtemp(prefix="chaos-")))
    run_dir.create()
    return run_dir


@contextlib.contextmanager
def isolated_stack(run_dir: RunDir) -> Iterator[Stack]:
    """Start a new system, and ignore the servers that the environment names."""
    for variable in IGNORED_VARIABLES:
        os.environ.pop(variable, None)

    os.environ.update(dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True)))
    os.environ["FREE_PRODUCTS"] = "on"  # some customers order free products
    with running_stack(run_dir, notify=Journal(run_dir)) as stack:
        yield stack
