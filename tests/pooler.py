"""PgBouncer in transaction mode, in front of the databases of a test."""

import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from django.db import connections

from services import VARIABLES
from tests.processes import until
from tools.local.ports import free_port
from tools.local.processes import ORPHAN_REAPER
from tools.local.unprivileged import server_user

__all__ = ["pooler", "pooler_urls"]


@contextmanager
def pooler(
    *,
    address: str = "127.0.0.1",
    users: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    sslmode: str = "prefer",
) -> Iterator[int]:
    """Run PgBouncer in transaction mode; yield its port.

    `users` maps the names of further users to their passwords. `settings` are further lines of its
    configuration. `sslmode` is how the test itself connects to it.
    """
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    assert program, "PgBouncer is missing. Install it: apt-get install pgbouncer"

    port = free_port()
    with TemporaryDirectory() as name:
        folder = Path(name)
        configuration = _configure(folder, {"listen_addr": address, "listen_port": port}, settings)
        _write_users(folder, users or {})
        user = server_user()
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)

        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, str(configuration)],
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user or None,
                group=user or None,
                extra_groups=[] if user else None,
            )
        ORPHAN_REAPER.watch(process.pid, signal.SIGKILL)
        try:
            until(lambda: _answers(address, port, sslmode), "PgBouncer answers", limit=10)
            yield port
        except AssertionError as error:
            error.add_note(log.read_text(errors="replace")[-2_000:])
            raise
        finally:
            process.kill()
            process.wait()
            ORPHAN_REAPER.forget(process.pid)


def pooler_urls(port: int, *, address: str = "127.0.0.1", query: str = "") -> dict[str, str]:
    """Return the variables with the URLs of the databases behind the pooler."""
    urls = {}
    for alias, variable in VARIABLES.items():
        config = connections[alias].settings_dict
        user = f"{config['USER']}:{config['PASSWORD']}"
        urls[variable] = f"postgres://{user}@{address}:{port}/{config['NAME']}{query}"
    return urls


def _configure(
    folder: Path, listen: Mapping[str, object], settings: Mapping[str, str] | None
) -> Path:
    server = connections["default"].settings_dict
    lines = {
        **listen,
        "pool_mode": "transaction",
        "auth_type": "plain",
        "auth_file": folder / "users.txt",
        "unix_socket_dir": "",
        "default_pool_size": 10,
        "log_connections": 0,
        "log_disconnections": 0,
        **(settings or {}),
    }
    written = "".join(f"{name} = {value}\n" for name, value in lines.items())
    path = folder / "pgbouncer.ini"
    path.write_text(
        f"[databases]\n* = host={server['HOST']} port={server['PORT']}\n[pgbouncer]\n{written}"
    )
    return path


def _write_users(folder: Path, users: Mapping[str, str]) -> None:
    ours = {
        connections[alias].settings_dict["USER"]: connections[alias].settings_dict["PASSWORD"]
        for alias in VARIABLES
    }
    lines = [f'"{name}" "{password}"\n' for name, password in {**ours, **users}.items()]
    (folder / "users.txt").write_text("".join(lines))


def _answers(address: str, port: int, sslmode: str) -> bool:
    config = connections["default"].settings_dict
    try:
        with psycopg.connect(
            host=address,
            port=port,
            user=config["USER"],
            password=config["PASSWORD"],
            dbname=config["NAME"],
            connect_timeout=2,
            sslmode=sslmode,
        ):
            return True
    except psycopg.OperationalError:
        return False
