"""Checks of the Celery settings that the engine relies on. Each prevents a failure.

They read the settings as the Celery app has them, wherever they were set.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from celery import Celery
from django.apps import apps
from kombu.utils.imports import symbol_by_name

from sagas.celery.signing import GuardedTask
from sagas.celery.transport import Transport
from sagas.checks.findings import Finding
from sagas.checks.queues import queue_names

__all__ = ["findings", "missing_app", "task_class"]

JSON = {"json", "application/json"}

# The Django app with the table of failed tasks. Without it, the module of the backend, which
# imports its models, raises an error when it is imported.
RESULTS_APP = "django_celery_results"
RESULT_BACKEND = "sagas.celery.result_backend:FailureLog"

CONFIGURE = (
    "sagas.celery.configure(app) sets all that the engine needs. The __init__.py of the project's "
    "package must import the app."
)


class Required(NamedTuple):
    """A setting that must be on, off, or have one value, and the failure that it prevents."""

    id: str
    setting: str
    must_be: str
    is_met: Callable[[Any], bool]
    prevents: str


REQUIRED = (
    Required(
        "sagas.E043",
        "task_serializer",
        "'json'",
        lambda value: value in JSON,
        "Workers accept only JSON, and a signature covers JSON text.",
    ),
    Required(
        "sagas.E044",
        "accept_content",
        "['json']",
        lambda value: bool(value) and set(value) <= JSON,
        "With pickle, a client that can write to the broker runs any code in the worker.",
    ),
    Required(
        "sagas.E045",
        "task_acks_late",
        "True",
        bool,
        "Otherwise a step whose worker is killed is lost until its saga is re-driven.",
    ),
    Required(
        "sagas.E046",
        "task_reject_on_worker_lost",
        "off",
        lambda value: not value,
        "Otherwise a message that kills its worker returns to the queue, and kills the next one.",
    ),
    Required(
        "sagas.E047",
        "task_ignore_result",
        "True",
        bool,
        "Otherwise the database gets one row for each task, and the list of failures has "
        "successes in it.",
    ),
    Required(
        "sagas.E048",
        "task_store_errors_even_if_ignored",
        "True",
        bool,
        "Otherwise operators see no failed task.",
    ),
    Required(
        "sagas.E049",
        "task_publish_retry",
        "False",
        lambda value: value is False,
        "Otherwise a broker that is away blocks requests. The message stays in the outbox anyway.",
    ),
    Required(
        "sagas.E050",
        "worker_prefetch_multiplier",
        "1",
        lambda value: value == 1,
        "Otherwise a worker reserves messages behind a long step, while other workers are idle.",
    ),
    Required(
        "sagas.E051",
        "CELERY_DB_REUSE_MAX",
        "a large number, such as 10000",
        lambda value: bool(value) and value > 1,
        "Otherwise Celery closes the database connections after each task.",
    ),
    Required(
        "sagas.E052",
        "task_time_limit",
        "set",
        bool,
        "Otherwise a step that hangs occupies its worker for ever.",
    ),
    Required(
        "sagas.E054",
        "broker_connection_retry_on_startup",
        "True",
        bool,
        "Otherwise a worker that starts while the broker is away exits.",
    ),
    Required(
        "sagas.E055",
        "broker_connection_max_retries",
        "None",
        lambda value: value is None,
        "Otherwise a long outage of the broker ends the workers.",
    ),
    Required(
        "sagas.E056",
        "broker_channel_error_retry",
        "True",
        bool,
        "Otherwise a broker that is out of memory ends the workers.",
    ),
    Required(
        "sagas.E057",
        "task_retry_on_worker_lost",
        "True",
        bool,
        "Otherwise a step whose process was killed waits until its saga is re-driven.",
    ),
    Required(
        "sagas.E058",
        "result_extended",
        "True",
        bool,
        "Otherwise a stored failure does not name its task and its saga.",
    ),
)


def findings(app: Celery) -> Iterator[Finding]:
    """Yield the settings of a Celery app that break a promise of the engine."""
    return chain(
        missing_app(),
        _classes(app),
        _broker(app),
        _required(app),
        _times(app),
        _transport(app),
        _default_queue(app),
        _names_taken(app),
    )


def _names_taken(app: Celery) -> Iterator[Finding]:
    """Yield the names that two tasks have. Celery keeps the first one, and only warns."""
    app.finalize()
    taken: set[str] = getattr(app, "_duplicate_task_names_warned", set())
    for name in sorted(taken):
        yield Finding(
            "sagas.E063",
            f"Two Celery tasks have the name {name!r}.",
            "Rename one of them. Otherwise workers run the first one only.",
        )


def _required(app: Celery) -> Iterator[Finding]:
    for required in REQUIRED:
        value = app.conf.get(required.setting)
        if not required.is_met(value):
            yield Finding(
                required.id,
                f"{_variable(required.setting)} is {value!r}, but it must be {required.must_be}.",
                required.prevents,
            )


def task_class(app: Celery) -> Iterator[Finding]:
    """Yield the fault of an app that `sagas.celery.configure` has not set up, or nothing."""
    return (finding for finding in _classes(app) if finding.id == "sagas.E040")


def missing_app() -> Iterator[Finding]:
    """Yield the fault of a project without the app of the failed tasks, or nothing."""
    if not apps.is_installed(RESULTS_APP):
        yield Finding(
            "sagas.E110",
            f"{RESULTS_APP!r} is not in INSTALLED_APPS, so failed tasks have no table.",
            "Add it before 'sagas', and run manage.py migrate. The package is "
            "django-celery-results, which is installed with the engine.",
        )


def _broker(app: Celery) -> Iterator[Finding]:
    if not (app.conf.broker_url or app.conf.broker_write_url):
        yield Finding(
            "sagas.E111",
            "CELERY_BROKER_URL is not set.",
            "Set it to redis://host:port/0. If it is set, the Celery app does not read it: "
            'app.config_from_object("django.conf:settings", namespace="CELERY").',
        )


def _classes(app: Celery) -> Iterator[Finding]:
    wanted: tuple[tuple[str, str, Any, str, str], ...] = (
        (
            "sagas.E040",
            "the task class of the Celery app (task_cls)",
            app.task_cls,
            _path(GuardedTask),
            "Otherwise workers run messages without a look at their signature.",
        ),
        (
            "sagas.E041",
            "CELERY_BROKER_TRANSPORT",
            app.conf.broker_transport,
            _path(Transport),
            "Otherwise one unreadable message in a queue stops every worker that receives it.",
        ),
        (
            "sagas.E042",
            "CELERY_RESULT_BACKEND",
            app.conf.result_backend,
            RESULT_BACKEND,
            "Otherwise a database that is away blocks the workers for good.",
        ),
    )
    for id_, setting, value, path, prevents in wanted:
        if path == RESULT_BACKEND and not apps.is_installed(RESULTS_APP):
            continue
        if not _derives(value, symbol_by_name(path)):
            text = f"{setting[:1].upper()}{setting[1:]} is {value!r}, but it must be {path!r}"
            yield Finding(id_, f"{text} or a class derived from it.", f"{prevents} {CONFIGURE}")


def _path(base: type) -> str:
    return f"{base.__module__}:{base.__qualname__}"


def _derives(value: Any, base: type) -> bool:
    """Tell whether a class, or the dotted path of one, is derived from another class."""
    try:
        found = symbol_by_name(value)
    except (AttributeError, ImportError, ValueError):
        return False
    return isinstance(found, type) and issubclass(found, base)


def _times(app: Celery) -> Iterator[Finding]:
    limit, soft = app.conf.task_time_limit, app.conf.task_soft_time_limit
    visibility = (app.conf.broker_transport_options or {}).get("visibility_timeout")

    if limit and not (visibility and visibility > limit):
        yield Finding(
            "sagas.E020",
            f"The broker's visibility_timeout is {visibility} s, but it must be above "
            f"CELERY_TASK_TIME_LIMIT, which is {limit} s.",
            "Otherwise the broker gives a step to a second worker while the first runs it.",
        )
    if limit and not (soft and soft < limit):
        yield Finding(
            "sagas.E053",
            f"CELERY_TASK_SOFT_TIME_LIMIT is {soft} s, but it must be below "
            f"CELERY_TASK_TIME_LIMIT, which is {limit} s.",
            "Otherwise a step that takes too long is killed before it can record its failure.",
        )


def _transport(app: Celery) -> Iterator[Finding]:
    options = app.conf.broker_transport_options or {}
    missing = [
        name for name in ("socket_timeout", "socket_connect_timeout") if not options.get(name)
    ]

    if missing:
        yield Finding(
            "sagas.E059",
            f"CELERY_BROKER_TRANSPORT_OPTIONS has no {' and no '.join(missing)}.",
            "Set it to a second. Otherwise a broker that does not answer blocks requests and "
            "workers without limit.",
        )
    if not options.get("unacked_restore_interval"):
        yield Finding(
            "sagas.E060",
            "CELERY_BROKER_TRANSPORT_OPTIONS has no unacked_restore_interval.",
            "Set it to a second. Otherwise the messages of a killed worker wait for minutes.",
        )
    if options.get("retry_on_timeout"):
        yield Finding(
            "sagas.E061",
            "CELERY_BROKER_TRANSPORT_OPTIONS has retry_on_timeout.",
            "Turn it off. Otherwise each request waits twice for a broker that does not answer.",
        )


def _default_queue(app: Celery) -> Iterator[Finding]:
    queue = app.conf.task_default_queue
    if queue not in queue_names(app):
        yield Finding(
            "sagas.E062",
            f"CELERY_TASK_DEFAULT_QUEUE is {queue!r}, which is the queue of no service.",
            "Set it to the name of a service, or add it to CELERY_TASK_QUEUES. Otherwise no worker "
            "receives a task that is sent without a queue.",
        )


def _variable(setting: str) -> str:
    return setting if setting.isupper() else f"CELERY_{setting.upper()}"
