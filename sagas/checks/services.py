"""Checks of the services: their models, their databases, and their queues."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain

from celery import current_app
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, router
from django.utils.connection import ConnectionDoesNotExist

from sagas.checks.findings import Finding
from sagas.checks.queues import configured_queues
from sagas.models import BASES, TrackedSaga
from sagas.storage.registry import service_names

__all__ = ["findings"]

# A home may track each kind of saga in a model of its own. Of the others, a service has one.
ONCE = tuple(base for base in BASES if base is not TrackedSaga)


def findings() -> Iterator[Finding]:
    """Yield the faults of every service."""
    return chain.from_iterable(
        chain(
            _doubled_models(service),
            _databases(service, _models(service)),
            _vendors(service),
            _queue(service),
        )
        for service in service_names()
    )


def _models(service: str) -> list[type[models.Model]]:
    return [
        model
        for model in apps.get_models()
        if model._meta.app_label == service and issubclass(model, BASES)
    ]


def _doubled_models(service: str) -> Iterator[Finding]:
    for base in ONCE:
        names = [model.__name__ for model in _models(service) if issubclass(model, base)]
        if len(names) > 1:
            yield Finding(
                "sagas.E017",
                f"The service {service!r} has {len(names)} models derived from {base.__name__}: "
                f"{', '.join(sorted(names))}.",
                "Keep one. The engine would use the first that it finds.",
            )


def _databases(service: str, models_: Sequence[type[models.Model]]) -> Iterator[Finding]:
    by_alias: dict[str, list[str]] = defaultdict(list)
    for model in models_:
        by_alias[router.db_for_write(model)].append(model.__name__)

    for alias in sorted(by_alias.keys() - settings.DATABASES.keys()):
        yield Finding(
            "sagas.E021",
            f"The service {service!r} uses the database alias {alias!r}, which does not exist.",
            "Add it to DATABASES, or return another alias in the database router.",
        )
    if len(by_alias) > 1:
        yield Finding(
            "sagas.E022",
            f"The models of the service {service!r} are in several databases: "
            f"{', '.join(sorted(by_alias))}.",
            "Return one alias for all of them in the database router. A step commits its inbox and "
            "its outbox in one transaction.",
        )


def _vendors(service: str) -> Iterator[Finding]:
    for alias in sorted({router.db_for_write(model) for model in _models(service)}):
        vendor = _vendor(alias)
        if vendor not in ("", "postgresql"):
            yield Finding(
                "sagas.E065",
                f"The service {service!r} uses the database alias {alias!r}, which is {vendor}.",
                "Use PostgreSQL. The engine needs its row locks and its JSON.",
            )


def _vendor(alias: str) -> str:
    """Return the kind of a database; empty if this process cannot use it."""
    try:
        return str(connections[alias].vendor)
    except (ConnectionDoesNotExist, ImproperlyConfigured, ImportError):
        return ""


def _queue(service: str) -> Iterator[Finding]:
    queues = configured_queues(current_app)
    if queues and service not in queues:
        yield Finding(
            "sagas.E028",
            f"The service {service!r} has no queue in CELERY_TASK_QUEUES.",
            "Add a queue with the name of the service. Its messages are sent there.",
        )
