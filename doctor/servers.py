"""The servers of this process: its databases by service, its broker and its cache.

Each is connected to as the service does, with the same settings and client.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from typing import Any

from celery import current_app
from django.core.cache import caches
from django.db import connections
from redis import Redis

from doctor.findings import Finding, Job
from sagas.services import get_service, service_names

__all__ = ["broker_client", "cache_client", "database_jobs", "databases", "is_loopback", "rows"]

POSTGRESQL = "django.db.backends.postgresql"


def databases() -> dict[str, str]:
    """Return the label of each database of this process, by its alias."""
    names: dict[str, list[str]] = {}
    for name in service_names():
        names.setdefault(get_service(name).alias, []).append(name)
    return {
        alias: f"{' and '.join(served)} database"
        for alias, served in names.items()
        if connections.settings[alias]["ENGINE"] == POSTGRESQL
    }


def database_jobs(look: Callable[[str, str], Iterable[Finding]]) -> list[Job]:
    """Return a job for each database; `look` gets its alias and its label."""
    return [Job(label, partial(look, alias, label)) for alias, label in databases().items()]


def rows(alias: str, statement: str, params: Any = None) -> list[tuple[Any, ...]]:
    """Run a query in a database; return its rows."""
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall())


@contextmanager
def broker_client() -> Iterator[Redis]:
    """Yield the client with which Celery speaks to the broker."""
    with current_app.connection_for_read() as connection:
        connection.connect()
        channel: Any = connection.default_channel
        yield channel.client


def cache_client() -> Redis:
    """Return the client of Django's cache."""
    cache: Any = caches["default"]
    client: Redis = cache._cache.get_client(None, write=True)
    return client


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: a Unix socket, or a loopback address."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
