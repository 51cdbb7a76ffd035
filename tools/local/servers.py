"""The embedded servers as a context: PostgreSQL, Valkey, and the payment sandbox if needed.

The supervisor, single commands and tests use them.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from services import OWNERS, VARIABLES
from tools.local.gateway import GATEWAY
from tools.local.ports import free_ports, port_from_env
from tools.local.postgres import Postgres
from tools.local.rundir import RunDir
from tools.local.sandbox import PaymentSandbox
from tools.local.server import EmbeddedServer
from tools.local.valkey import Valkey

__all__ = ["Servers", "embedded_servers", "private_servers"]

# The service that owns the database of each variable.
DATABASE_VARIABLES = {variable: OWNERS[alias] for alias, variable in VARIABLES.items()}
# The demo and the soak send all requests from one address as one customer.
NO_RATE_LIMITS = {
    f"RATE_LIMIT_{what}": "0" for what in ("READS", "WRITES", "ORDERS", "LOGINS", "STRANGERS")
}
# Uncommon ports below the ephemeral range.
POSTGRES_PORT = 25432
REDIS_PORT = 25379
SANDBOX_PORT = 25111


class Servers:
    """The needed servers, and the environment that makes the service use them."""

    def __init__(
        self,
        run_dir: RunDir,
        postgres: Postgres,
        valkey: Valkey,
        *,
        user_env: dict[str, str],
        sandbox: PaymentSandbox | None = None,
    ) -> None:
        """Use the servers that `user_env` names instead of embedded ones."""
        self.run_dir = run_dir
        self.postgres = postgres
        self.valkey = valkey
        self.user_env = user_env
        self.sandbox = sandbox

    @property
    def needed(self) -> list[EmbeddedServer]:
        """The servers to start, in start order."""
        postgres = [] if DATABASE_VARIABLES.keys() <= self.user_env.keys() else [self.postgres]
        valkey = [] if "REDIS_URL" in self.user_env else [self.valkey]
        return [*postgres, *valkey, *([self.sandbox] if self.sandbox else [])]

    @property
    def env(self) -> dict[str, str]:
        """The variables that the service reads. The user's variables win."""
        ours = {
            variable: self.postgres.url(service) for variable, service in DATABASE_VARIABLES.items()
        }
        ours |= {
            "REDIS_URL": self.valkey.url,
            "SECRET_KEY": self.run_dir.secret("SECRET_KEY", size=48),
            "DEBUG": "on",
        }
        ours |= NO_RATE_LIMITS
        ours[GATEWAY] = "simulated"
        ours |= self.sandbox.env if self.sandbox else {}

        return ours | {name: self.user_env[name] for name in ours if name in self.user_env}

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Start the needed servers; stop them in reverse order at the end."""
        with contextlib.ExitStack() as stack:
            for server in self.needed:
                server.start()
                stack.callback(server.stop)

            yield


def local_servers(run_dir: RunDir, user_env: dict[str, str] | None = None) -> Servers:
    """Describe the servers of a run directory, with ports from the environment."""
    environment = os.environ if user_env is None else user_env
    user_env = {name: value for name, value in environment.items() if value}
    sandbox = PaymentSandbox(run_dir, port_from_env(PaymentSandbox.port_variable, SANDBOX_PORT))

    return Servers(
        run_dir,
        Postgres(run_dir, port_from_env(Postgres.port_variable, POSTGRES_PORT)),
        Valkey(run_dir, port_from_env(Valkey.port_variable, REDIS_PORT)),
        user_env=user_env,
        sandbox=sandbox if PaymentSandbox.is_needed(user_env) else None,
    )


@contextlib.contextmanager
def embedded_servers(run_dir: RunDir) -> Iterator[dict[str, str]]:
    """Run the servers of a run directory; yield their environment and write it to `.run/env`."""
    servers = local_servers(run_dir)
    with run_dir.locked(), servers.up():
        run_dir.write_env(servers.env)
        yield servers.env


@contextlib.contextmanager
def private_servers(*, durable: bool = False, started: bool = True) -> Iterator[Servers]:
    """Run separate servers for a test session, on free ports and in a temporary directory.

    Servers that are not `started` only have addresses, which is enough to read the settings.

    The services' roles may create databases. Each server can be killed, frozen and restarted, and
    keeps its port. With PAYMENT_GATEWAY=stripe the payment sandbox is one of them, even if the
    environment names a Stripe account.
    """
    with tempfile.TemporaryDirectory(prefix="servers-", ignore_cleanup_errors=True) as directory:
        run_dir = RunDir(Path(directory))
        of_postgres, of_valkey, of_sandbox = free_ports(3)
        postgres = Postgres(run_dir, of_postgres, durable=durable, may_create_databases=True)
        stripe = os.environ.get("PAYMENT_GATEWAY") == "stripe"
        sandbox = PaymentSandbox(run_dir, of_sandbox) if stripe else None
        servers = Servers(
            run_dir, postgres, Valkey(run_dir, of_valkey), user_env={}, sandbox=sandbox
        )
        with run_dir.locked(), servers.up() if started else contextlib.nullcontext():
            yield servers

        # After the lock is released: remove() takes it again.
        run_dir.remove()
