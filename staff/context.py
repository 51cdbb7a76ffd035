"""The origin of a write: the request under way, or the person at a host's shell."""

import os
import pwd
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest

from staff.policy import Actor, Shell

__all__ = [
    "Origin",
    "RequestUnderWay",
    "address_of",
    "at_shell",
    "current_origin",
    "request_under_way",
    "shell_actor",
    "surface_of",
]

COMMANDS = ("manage.py", "django-admin")

# These change no data of staff, and run before the log exists.
NOT_BY_A_PERSON = ("migrate", "migrate_all", "test", "flush")


class RequestUnderWay(NamedTuple):
    """A request, and how to find the address of its client."""

    request: HttpRequest
    find_address: Callable[[HttpRequest], str | None]

    @property
    def address(self) -> str:
        """The address of the client; empty without one, as on a Unix socket."""
        return self.find_address(self.request) or ""


class Origin(NamedTuple):
    """The person of a write, and the surface as the log names it."""

    actor: Actor
    via: str


request_under_way: ContextVar[RequestUnderWay | None] = ContextVar("request", default=None)
shell_under_way: ContextVar[Shell | None] = ContextVar("shell", default=None)


def current_origin() -> Origin | None:
    """Return the origin of a write now; None for a process of the service without a request."""
    under_way = request_under_way.get()
    if under_way is not None:
        user = getattr(under_way.request, "user", None) or AnonymousUser()
        via = surface_of(under_way.request)
        if not user.is_authenticated:
            return Origin(AnonymousUser(), via)
        # `request.user` is lazy, and may be the very instance that is being changed.
        return Origin(User(pk=user.pk, username=user.get_username()), via)
    return Origin(shell_actor(), "command") if _is_command() else None


def surface_of(request: HttpRequest | None) -> str:
    """Return the surface of a request, as the log names it."""
    return "api" if request is not None and request.path.startswith("/api/") else "admin"


def shell_actor() -> Shell:
    """Return the person at this shell, as the operating system knows them."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under an id without a name
        name = f"uid {os.getuid()}"
    behind_sudo = os.environ.get("SUDO_USER", "")
    return Shell(f"{behind_sudo} as {name}"[:140] if behind_sudo else name)


@contextmanager
def at_shell() -> Iterator[None]:
    """Say that a member of staff acts at this shell: entries then name the host and its user."""
    token = shell_under_way.set(shell_actor())
    try:
        yield
    finally:
        shell_under_way.reset(token)


def address_of(actor: Actor) -> str:
    """Return the address of the request under way, or this host's name for a shell; or nothing.

    Where a member of staff acts at a shell, the host's user stands before the name of the host.
    """
    under_way, shell = request_under_way.get(), shell_under_way.get()
    if under_way is not None:
        return under_way.address[:100]
    if shell is not None and not isinstance(actor, Shell):
        return f"{shell.name}@{socket.gethostname()}"[:100]
    return socket.gethostname()[:100] if isinstance(actor, Shell) else ""


def _is_command() -> bool:
    program, command = (*(Path(argument).name for argument in sys.argv[:2]), "", "")[:2]
    return program in COMMANDS and command not in NOT_BY_A_PERSON
