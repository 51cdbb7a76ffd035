"""The embedded servers, PostgreSQL and Valkey, as a context: for the supervisor, for single
commands and for tests.

With them the payment sandbox, where it is wanted.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.local.gateway import GATEWAY
from tools.local.ports import chosen_port, free_port
from tools.local.postgres import Postgres
from tools.local.rundir import RunDir
from tools.local.sandbox import PaymentSandbox
from tools.local.server import EmbeddedServer
from tools.local.valkey import Valkey

__all__ = ["Servers", "embedded_servers", "private_servers"]

DATABASE_VARIABLES = {
    "DATABASE_URL": "orders",
    "PAYMENTS_DATABASE_URL": "payments",
    "INVENTORY_DATABASE_URL": "inventory",
}
# One machine is one address, and the demo and the soak have one customer each, in a hurry.
UNLIMITED = {
    f"RATE_LIMIT_{what}": "0" for what in ("READS", "WRITES", "ORDERS", "LOGINS", "STRANGERS")
}
# Uncommon ones, and below those that the system hands out by itself.
POSTGRES_PORT = 25432
REDIS_PORT = 25379
SANDBOX_PORT = 25111


class Servers:
    """The embedded servers that are needed, and the environment that leads to them."""

    def __init__(
        self,
        run_dir: RunDir,
        postgres: Postgres,
        valkey: Valkey,
        *,
        given: dict[str, str],
        sandbox: PaymentSandbox | None = None,
    ) -> None:
        """Take what the user has `given`, as environment variables, in place of a server of
        ours.
        """
        self.run_dir = run_dir
        self.postgres = postgres
        self.valkey = valkey
        self.given = given
        self.sandbox = sandbox

    @property
    def needed(self) -> list[EmbeddedServer]:
        """The servers to start, in that order."""
        postgres = [] if DATABASE_VARIABLES.keys() <= self.given.keys() else [self.postgres]
        valkey = [] if "REDIS_URL" in self.given else [self.valkey]
        return [*postgres, *valkey, *([self.sandbox] if self.sandbox else [])]

    @property
    def env(self) -> dict[str, str]:
        """The variables the project reads, what the user has given taking precedence."""
        ours = {
            variable: self.postgres.url(service) for variable, service in DATABASE_VARIABLES.items()
        }
        ours |= {
            "REDIS_URL": self.valkey.url,
            "SECRET_KEY": self.run_dir.secret("SECRET_KEY", size=48),
            "DEBUG": "on",
        }
        ours |= UNLIMITED
        ours[GATEWAY] = "simulated"
        ours |= self.sandbox.env if self.sandbox else {}
        return ours | {name: self.given[name] for name in ours if name in self.given}

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Start what is needed; stop it, last first, in the end."""
        with contextlib.ExitStack() as stack:
            for server in self.needed:
                server.start()
                stack.callback(server.stop)
            yield


def local_servers(run_dir: RunDir, given: dict[str, str] | None = None) -> Servers:
    """Describe the servers of a run directory, on the ports that the environment chooses."""
    given = dict(os.environ) if given is None else given
    given = {name: value for name, value in given.items() if value}
    sandbox = PaymentSandbox(run_dir, chosen_port(PaymentSandbox.port_variable, SANDBOX_PORT))
    return Servers(
        run_dir,
        Postgres(run_dir, chosen_port(Postgres.port_variable, POSTGRES_PORT)),
        Valkey(run_dir, chosen_port(Valkey.port_variable, REDIS_PORT)),
        given=given,
        sandbox=sandbox if PaymentSandbox.is_wanted(given) else None,
    )


@contextlib.contextmanager
def embedded_servers(run_dir: RunDir) -> Iterator[dict[str, str]]:
    """Run the servers of a run directory; give the environment that leads to them, and leave it
    in `.run/env`.
    """
    servers = local_servers(run_dir)
    with run_dir.locked(), servers.up():
        run_dir.write_env(servers.env)
        yield servers.env


@contextlib.contextmanager
def private_servers(*, durable: bool = False, started: bool = True) -> Iterator[Servers]:
    """Run servers of one's own, on free ports and in a temporary directory, for a test session.

    Not `started`: they only have addresses, which is enough to read the settings.

    The services' roles may create databases. Each server can be killed, frozen and restarted, and
    keeps its port. With PAYMENT_GATEWAY=stripe in the environment the payment sandbox is one of
    them, whatever account that names.
    """
    with tempfile.TemporaryDirectory(prefix="servers-", ignore_cleanup_errors=True) as directory:
        run_dir = RunDir(Path(directory))
        postgres = Postgres(run_dir, free_port(), durable=durable, may_create_databases=True)
        stripe = os.environ.get("PAYMENT_GATEWAY") == "stripe"
        sandbox = PaymentSandbox(run_dir, free_port()) if stripe else None
        servers = Servers(
            run_dir, postgres, Valkey(run_dir, free_port()), given={}, sandbox=sandbox
        )
        with run_dir.locked(), servers.up() if started else contextlib.nullcontext():
            yield servers
        # The lock file is let go before the directory, and what lies elsewhere, is removed.
        run_dir.remove()
