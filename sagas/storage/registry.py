"""The services and homes of a project, found by the models that their apps derive.

A service is an app with an outbox, an inbox, holds and a watermark, one database and one queue.
"""

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from django.apps import apps
from django.db import models, router

from sagas.definition.plan import service_name
from sagas.models import Hold, Inbox, Outbox, TimelineEvent, TrackedSaga, Watermark

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
    watermark: str


@dataclass(frozen=True, kw_only=True)
class Home:
    """A service that starts sagas: the model that tracks them, and the model of their timeline."""

    name: str
    alias: str
    hold: str
    tracked: type[TrackedSaga]
    timeline: type[TimelineEvent]


def service_names() -> list[str]:
    """Return the name of every service in this project."""
    return sorted(model._meta.app_label for model in apps.get_models() if issubclass(model, Outbox))


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
        watermark=_model(name, Watermark)._meta.db_table,
    )


def service_of_step(step: str) -> Service:
    """Return the service that owns a step. Raises `UnknownService`."""
    return get_service(service_name(step))


def home_names() -> list[str]:
    """Return the name of every service that starts sagas."""
    return sorted(
        model._meta.app_label for model in apps.get_models() if issubclass(model, TrackedSaga)
    )


@cache
def get_home(name: str) -> Home:
    """Return a home by its name. Raises `UnknownService`."""
    tracked = _model(name, TrackedSaga)
    return Home(
        name=name,
        alias=router.db_for_write(tracked),
        hold=_model(name, Hold)._meta.db_table,
        tracked=tracked,
        timeline=_model(name, TimelineEvent),
    )


def _model(name: str, base: type[M]) -> type[M]:
    for model in apps.get_models():
        if model._meta.app_label == name and issubclass(model, base):
            return model
    raise UnknownService(
        f"No installed app {name!r} has a model derived from sagas.models.{base.__name__}."
    )
