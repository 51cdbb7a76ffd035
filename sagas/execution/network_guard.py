"""Reports a network connection that a step opens while its transaction is open.

Such a step holds a database connection and row locks until the other side answers. A rollback does
not undo the effect at the other side. The step must be an `ExternalStep`.

The guard uses Python's audit event of `socket.connect`. PostgreSQL's client library does not raise
it. Unix sockets and connections to the broker or to Redis are not reported. A connection that was
open before is not seen, so each address is reported when it is first used.
"""

import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from celery import current_app
from django.conf import settings as django_settings

from sagas.conf import settings

__all__ = ["ALLOW", "MODES", "RAISE", "WARN", "NetworkInTransaction", "install", "watch"]

logger = logging.getLogger(__name__)

# The values of NETWORK_IN_STEPS.
ALLOW, WARN, RAISE = "allow", "warn", "raise"
MODES = (ALLOW, WARN, RAISE)

REDIS_PORT = 6379

TEXT = (
    "The step %s connects to %s while its transaction is open. It holds a database connection and"
    " row locks until the other side answers, and a rollback does not undo the effect there."
    " Make it an ExternalStep, whose call runs with no transaction open."
)

Address = tuple[str, int]

# The step whose transaction this thread runs, or an empty text.
_step: ContextVar[str] = ContextVar("step", default="")

_reported: set[tuple[str, Address]] = set()
_installed: list[bool] = []


class NetworkInTransaction(Exception):
    """A step connected to another system while its transaction was open."""


def install() -> None:
    """Guard the steps of this process and of the processes it forks, unless the setting allows all.

    Python has no way to remove the guard, so a second call does nothing.
    """
    if settings.NETWORK_IN_STEPS != ALLOW and not _installed:
        _installed.append(True)
        sys.addaudithook(_on_event)


@contextmanager
def watch(step: str) -> Iterator[None]:
    """Report what this thread connects to within. It runs the transaction of a step."""
    token = _step.set(step)
    try:
        yield
    finally:
        _step.reset(token)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    """Look at one event of the interpreter. Most of them are none of ours, so this is brief."""
    if event == "socket.connect" and _step.get():
        _look_at(_step.get(), *arguments)


def _look_at(step: str, connecting: socket.socket, target: Any) -> None:
    if connecting.family not in (socket.AF_INET, socket.AF_INET6):
        return

    address: Address = (target[0], target[1])
    token = _step.set("")  # the look-up of the broker's name may itself connect
    try:
        is_own = address in _own_addresses()
    finally:
        _step.reset(token)

    if is_own or settings.NETWORK_IN_STEPS == ALLOW:
        return
    if settings.NETWORK_IN_STEPS == RAISE:
        raise NetworkInTransaction(TEXT % (step, f"{address[0]}:{address[1]}"))
    if (step, address) not in _reported:
        _reported.add((step, address))
        logger.warning(TEXT, step, f"{address[0]}:{address[1]}")


def _own_addresses() -> set[Address]:
    """Return the addresses of the broker, of the heartbeats' Redis and of Django's caches."""
    urls: list[str] = [settings.REDIS_URL, *_as_list(current_app.conf.broker_url)]
    for cache in getattr(django_settings, "CACHES", {}).values():
        urls += _as_list(cache.get("LOCATION"))

    found: set[Address] = set()
    for url in filter(None, urls):
        with suppress(ValueError, OSError):
            parts = urlsplit(url)
            port = parts.port or REDIS_PORT
            found.add((str(parts.hostname), port))
            for *_, resolved in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM):
                found.add((str(resolved[0]), int(resolved[1])))
    return found


def _as_list(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split(";")
    return [item for item in value or () if isinstance(item, str)]
