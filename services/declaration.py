"""How a service is declared."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["BeatEntry", "Page", "Service", "declare"]

# A name is an app, a queue, a database role, and a part of an environment variable.
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class BeatEntry:
    """A task that beat sends to the queue of the service, each time after some `seconds`."""

    name: str
    task: str
    seconds: float


@dataclass(frozen=True)
class Page:
    """An admin page of a model of the service, with its title and its icon in the menu."""

    model: str
    title: str
    icon: str


@dataclass(frozen=True)
class Service:
    """One service: an app with steps, its queue, its worker and its database.

    `name` is the app's label, the queue, and the prefix of its steps. `database` is an alias in
    Django's DATABASES; without it the service has a database of its own, with its name as alias.
    Services with the same alias share a database. `starts_sagas` tells that the app tracks sagas of
    its own. `workers` is the number of processes of its worker in the local stack. `beat` has the
    tasks of its own: flushes and released holds need no entry. `pages` are the models that the menu
    of the console lists for it, beside its messages.
    """

    name: str
    database: str = ""
    starts_sagas: bool = False
    workers: int = 2
    beat: tuple[BeatEntry, ...] = ()
    pages: tuple[Page, ...] = ()

    @property
    def alias(self) -> str:
        """The alias of its database in Django."""
        return self.database or self.name

    @property
    def variable(self) -> str:
        """The environment variable with the URL of its database."""
        return "DATABASE_URL" if self.alias == "default" else f"{self.alias.upper()}_DATABASE_URL"


def declare(services: Iterable[Service]) -> tuple[Service, ...]:
    """Return the services. Raises ValueError if a name is unfit, or is there twice."""
    declared = tuple(services)
    names = [service.name for service in declared]
    for service in declared:
        if not NAME.fullmatch(service.name):
            raise ValueError(
                f"The service name {service.name!r} is unfit. Use lower-case letters, digits and "
                "underscores, because it names an app, a queue and a database."
            )
        if names.count(service.name) > 1:
            raise ValueError(f"The registry has the service {service.name!r} twice. Keep one.")
    return declared
