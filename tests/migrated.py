"""Migrated databases that later test processes copy, because migrating takes longer than the copy.

The first process of a run migrates its databases as ever, and dumps them into `.pytest_cache`. The
others wait for it, and create their databases from the dumps. Django still migrates those: it finds
every migration applied. A dump counts for the same code, requirements and Python only.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from tests.plugin import running

__all__ = ["copied_or_kept"]

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".pytest_cache" / "databases"

# Folders whose code has no influence on a migrated database.
WITHOUT_MODELS = frozenset({"docs", "dist", "examples", "tools"})


@contextmanager
def copied_or_kept(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let Django create a test database within the context, as a copy of a dump if there is one.

    Otherwise the database is dumped at the end, and other processes wait for that.
    """
    folder = FOLDER / _fingerprint()
    folder.mkdir(parents=True, exist_ok=True)
    dump = folder / f"{connection.alias}.sql"
    with (folder / f"{connection.alias}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not dump.exists():
            yield
            _keep(connection, dump)
            return

    _use(connection, dump)
    yield


def _use(connection: BaseDatabaseWrapper, dump: Path) -> None:
    """Let Django create a database as a copy of a dump."""
    template = f"migrated_{connection.alias}"
    with psycopg.connect(_url("postgres"), autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(template)))
        _run(
            "psql",
            "--quiet",
            "--single-transaction",
            "--set=ON_ERROR_STOP=1",
            f"--file={dump}",
            f"--dbname={_url(template)}",
        )
        # Only of a template may another role than the owner make copies.
        session.execute(
            sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(sql.Identifier(template))
        )
    connection.settings_dict["TEST"]["TEMPLATE"] = template


def _keep(connection: BaseDatabaseWrapper, dump: Path) -> None:
    """Dump a migrated database. A process that is killed leaves no part of a dump."""
    for other in FOLDER.iterdir():
        if other != dump.parent:
            shutil.rmtree(other, ignore_errors=True)

    unfinished = dump.with_suffix(".unfinished")
    name = connection.settings_dict["NAME"]
    _run("pg_dump", f"--file={unfinished}", f"--dbname={_url(name)}")
    unfinished.rename(dump)


@cache
def _fingerprint() -> str:
    """Return a digest of all that may change a migrated database."""
    digest = hashlib.sha256(sys.version.encode())
    requirements = sorted(ROOT.glob("requirements*.txt"))
    for path in [*requirements, *_modules()]:
        digest.update(f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def _modules() -> Iterator[Path]:
    """Yield the modules of the project, and the models and settings of the tests."""
    tops = (
        each
        for each in sorted(ROOT.iterdir())
        if each.is_dir() and each.name not in WITHOUT_MODELS and not each.name.startswith(".")
    )
    for top in tops:
        for path in sorted(top.rglob("*.py")):
            is_test = top.name == "tests" and not path.name.startswith(("models", "settings"))
            if not is_test or "migrations" in path.parts:
                yield path


def _url(database: str) -> str:
    base, _, _ = running().postgres.superuser_url.rpartition("/")
    return f"{base}/{database}"


def _run(program: str, *arguments: str) -> None:
    command = [str(running().postgres.binaries / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
