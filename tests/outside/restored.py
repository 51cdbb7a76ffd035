"""Backups of a database under load, and its restore, with PostgreSQL's own programs."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import connections

from sagas.operations.heartbeats import KEY
from sagas.storage.registry import get_service
from tests.outside.harness import as_superuser, end_sessions, name_of, valkey
from tests.plugin import running

__all__ = ["back_up", "forget_heartbeats", "lose", "restore"]


def back_up(service: str, folder: Path) -> Path:
    """Return a consistent dump of a service's database, taken while processes write to it."""
    dump = folder / f"{service}.dump"
    _run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={_url(service)}")
    return dump


def restore(service: str, dump: Path) -> None:
    """Replace the database of a service by a dump."""
    with _new_database(service):
        _run("pg_restore", "--exit-on-error", f"--dbname={_url(service)}", str(dump))


def lose(service: str) -> None:
    """Replace the database of a service by a new, empty one, and migrate it."""
    with _new_database(service):
        pass
    call_command("migrate", database=_alias(service), run_syncdb=True, verbosity=0)


def forget_heartbeats() -> None:
    """Delete the heartbeats of killed workers, which count as alive for half a minute."""
    with valkey() as client:
        client.delete(KEY)


@contextmanager
def _new_database(service: str) -> Iterator[None]:
    """Drop and create the database of a service. Fill it within the context."""
    name = name_of(_alias(service))
    connections.close_all()
    end_sessions(f"datname = '{name}'")
    as_superuser("DROP DATABASE {}", name)
    as_superuser("CREATE DATABASE {} OWNER {}", name, service)
    as_superuser("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", name)
    yield
    connections.close_all()


def _alias(service: str) -> str:
    return get_service(service).alias


def _url(service: str) -> str:
    base, _, _ = running().postgres.superuser_url.rpartition("/")
    return f"{base}/{name_of(_alias(service))}"


def _run(program: str, *arguments: str) -> None:
    command = [str(running().postgres.binaries / program), *arguments]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
