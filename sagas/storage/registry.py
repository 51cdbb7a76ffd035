"""The services and homes of a project, found by the models that their apps derive.

A service is an app with an outbox, an inbox, holds, step faults, limits of calls and a watermark,
one database and one queue.
"""

from dataclasses import dataclass
from functools import cache
from typing import TypeGuard, TypeVar

from django.apps import apps
from django.db import models, router

from sagas.definition.plan import service_name
from sagas.models import (
    CallLimit,
    Hold,
    Inbox,
    Outbox,
    StepFault,
    TimelineEvent,
    TrackedSaga,
    Watermark,
)

M = TypeVar("M", bound=models.Model)

__all__ = [
    "Home",
    "Service",
    "UnknownService",
    "get_home",
    "get_service",
    "home_names",
    "service_names",
    "service_of_step",
]


class UnknownService(LookupError):
    """No installed app of this name derives the models that a service or a home needs."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service: its name, its database alias, and the names of its tables.

    The name is the app label, the queue, and the prefix of its steps.
    """

    name: str
    alias: str
    outbox: str
    inbox: str
    hold: str
    fault: str
    limit: str
    watermark: str


@dataclass(frozen=True, kw_only=True)
class Home:
    """A service that starts sagas: the models that track them, and the model of their timeline.

    Each kind of saga may have a model of its own. A saga has a row in one of `kinds`.
    """

    name: str
    alias: str
    hold: str
    kinds: tuple[type[TrackedSaga], ...]
    timeline: type[TimelineEvent]

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of the tracked rows."""
        return tuple(kind._meta.db_table for kind in self.kinds)


def service_names() -> list[str]:
    """Return the name of every service in this project."""
    return list(_apps_with(Outbox))


@cache
def get_service(name: str) -> Service:
    """Return a service by its name. Raises `UnknownService`."""
    outbox = _model(name, Outbox)
    return Service(
        name=name,
        alias=router.db_for_write(outbox),
        outbox=outbox._meta.db_table,
        inbox=_model(name, Inbox)._meta.db_table,
        hold=_model(name, Hold)._meta.db_table,
        fault=_model(name, StepFault)._meta.db_table,
        limit=_model(name, CallLimit)._meta.db_table,
        watermark=_model(name, Watermark)._meta.db_table,
    )


def service_of_step(step: str) -> Service:
    """Return the service that owns a step. Raises `UnknownService`."""
    return get_service(service_name(step))


def home_names() -> list[str]:
    """Return the name of every service that starts sagas."""
    return list(_apps_with(TrackedSaga))


@cache
def get_home(name: str) -> Home:
    """Return a home by its name. Raises `UnknownService`."""
    kinds = _models(name, TrackedSaga)
    return Home(
        name=name,
        alias=router.db_for_write(kinds[0]),
        hold=_model(name, Hold)._meta.db_table,
        kinds=kinds,
        timeline=_model(name, TimelineEvent),
    )


def _derives(model: type[models.Model], base: type[M]) -> TypeGuard[type[M]]:
    """Return whether a model has the columns of a base in its own table. A proxy has none, and a
    child of a concrete model has them in the table of its parent.
    """
    own = {field.name for field in model._meta.local_fields}
    wanted = {field.name for field in base._meta.local_fields if not field.primary_key}
    return issubclass(model, base) and wanted <= own


@cache
def _apps_with(base: type[models.Model]) -> tuple[str, ...]:
    """Return the labels of the apps with a model that derives a base."""
    return tuple(
        sorted({model._meta.app_label for model in apps.get_models() if _derives(model, base)})
    )


def _model(name: str, base: type[M]) -> type[M]:
    return _models(name, base)[0]


def _models(name: str, base: type[M]) -> tuple[type[M], ...]:
    found = tuple(
        model
        for model in apps.get_models()
        if model._meta.app_label == name and _derives(model, base)
    )
    if not found:
        raise UnknownService(
            f"No installed app {name!r} has a model derived from sagas.models.{base.__name__}."
        )
    return found
