"""Sets a Celery app up for the engine: `sagas.celery.configure(app)`.

Every setting here is a default: a setting of the project wins, and `manage.py check` reports it if
it breaks a promise of the engine.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any

from celery import Celery, signals
from django.apps import apps
from django.conf import ENVIRONMENT_VARIABLE
from django.conf import settings as django_settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue

from sagas.celery import rounds
from sagas.celery.signing import GuardedTask, guard
from sagas.conf import settings

__all__ = ["beat_schedule", "complete_apps", "configure"]

logger = logging.getLogger(__name__)

Entry = dict[str, Any]

# The exit code of a process that must not start: see `sagas.checks.at_start`.
EXIT_CODE = 3

# The task class that Celery gives to an app in a Django project.
DJANGO_TASK = "celery.contrib.django.task:DjangoTask"

# Seconds between two tasks of beat.
RELEASE_INTERVAL = 2.0
PURGE_INTERVAL = 3600.0
SHORTEST_REDRIVE_INTERVAL = 1.0

# How often a saga that has stalled is looked for, until it has stalled for twice as long.
REDRIVES_PER_STALL = 15

# Seconds that one task may take.
TIME_LIMIT = 50.0

# sagas.checks.celery_settings says for each of them which failure it prevents.
DEFAULTS: dict[str, Any] = {
    "broker_transport": "sagas.celery.transport:Transport",
    "broker_transport_options": {
        "visibility_timeout": 1.2 * TIME_LIMIT,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "socket_timeout": 1,
        "socket_connect_timeout": 1,
        "retry_on_timeout": False,
    },
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,
    "result_backend": "sagas.celery.result_backend:FailureLog",
    "result_expires": 30 * 24 * 3600,
    "result_extended": True,
    "result_serializer": "json",
    "accept_content": ["json"],
    "task_serializer": "json",
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": True,
    "task_acks_late": True,
    "task_retry_on_worker_lost": True,
    "task_time_limit": TIME_LIMIT,
    "task_soft_time_limit": 0.8 * TIME_LIMIT,
    "task_publish_retry": False,
    "worker_enable_remote_control": False,
    "worker_prefetch_multiplier": 1,
    "CELERY_DB_REUSE_MAX": 10_000,
}

NOT_INSTALLED = (
    'The Celery app is configured for sagas, but "sagas" is not in INSTALLED_APPS, so no saga '
    "would run."
)

# The apps that wait until Django has loaded the models, which name the services.
_waiting: list[Celery] = []


def configure(app: Celery) -> None:
    """Set a Celery app up for the engine. Call it once, before the app has a task.

    The app then sends and accepts signed messages only. It has the settings that the engine relies
    on, one queue for each service, and the periodic tasks of all services. A worker without `-Q`
    reads all queues. Raises RuntimeError if the app has a task already, because workers would run
    the messages of that task unchecked, and ImproperlyConfigured without Django's settings.
    """
    if not (django_settings.configured or os.environ.get(ENVIRONMENT_VARIABLE)):
        raise ImproperlyConfigured(
            f"sagas.celery.configure(app) needs Django's settings, but {ENVIRONMENT_VARIABLE} is "
            f'not set. Put os.environ.setdefault("{ENVIRONMENT_VARIABLE}", "PROJECT.settings") '
            "above the Celery app."
        )
    if "Task" in vars(app):
        raise RuntimeError(
            "sagas.celery.configure(app) comes too late: the app has a task already. Call it right "
            "after app.config_from_object()."
        )

    if app.task_cls in (Celery.task_cls, DJANGO_TASK):
        app.task_cls = f"{GuardedTask.__module__}:{GuardedTask.__qualname__}"
    if app.configured:  # type: ignore[attr-defined]  # celery is typed in part
        _add_defaults(app.conf)
    else:
        app.on_after_configure.connect(_add_defaults_later, weak=False)
    app.autodiscover_tasks(["sagas.celery"])
    guard(app)
    signals.worker_init.connect(_require_engine, dispatch_uid="sagas.celery", weak=False)
    signals.beat_init.connect(_require_engine, dispatch_uid="sagas.celery", weak=False)
    checks.register(_check_engine)

    _waiting.append(app)
    if apps.models_ready:
        complete_apps()


def complete_apps() -> None:
    """Give the configured apps the queues and periodic tasks of the services."""
    while _waiting:
        _complete(_waiting.pop())


def beat_schedule() -> dict[str, Entry]:
    """Return the periodic tasks of all services and homes, for Celery's beat_schedule."""
    from sagas.storage.registry import home_names, service_names  # noqa: PLC0415  needs the app registry

    redrive_interval = settings.STALL_SECONDS / REDRIVES_PER_STALL
    of_services: tuple[tuple[str, str, float], ...] = (
        ("flush", "sagas.flush", settings.FLUSH_SECONDS),
        ("release", "sagas.release_held", RELEASE_INTERVAL),
    )
    of_homes: tuple[tuple[str, str, float], ...] = (
        ("redrive", "sagas.rescue", max(SHORTEST_REDRIVE_INTERVAL, redrive_interval)),
        ("purge", "sagas.purge_ended", PURGE_INTERVAL),
    )
    return {
        f"{label}-{name}": rounds.entry(f"{label}-{name}", task, name, queue=name, seconds=seconds)
        for names, periodic in ((service_names(), of_services), (home_names(), of_homes))
        for label, task, seconds in periodic
        for name in names
    }


def _of_apps(queue: str) -> dict[str, Entry]:
    """Return the periodic tasks that other apps declare, such as the console.

    An app declares them in `periodic_tasks` of its AppConfig: by name, the task and the seconds
    between two of them. They run in the default queue.
    """
    return {
        name: rounds.entry(name, task, queue=queue, seconds=seconds)
        for config in apps.get_app_configs()
        for name, (task, seconds) in getattr(config, "periodic_tasks", {}).items()
    }


def _add_defaults_later(source: Any, **_: Any) -> None:
    _add_defaults(source)


def _add_defaults(conf: Any) -> None:
    """Put the engine's defaults behind the settings of the project, and before those of Celery.

    `app.add_defaults` would put them before the settings of the project. The time limits follow
    the limit of a task that the project sets.
    """
    defaults = dict(DEFAULTS)
    conf.maps.insert(len(conf.maps) - 1, defaults)

    limit = conf.task_time_limit
    if limit and limit != TIME_LIMIT:
        options = {**defaults["broker_transport_options"], "visibility_timeout": 1.2 * limit}
        defaults |= {"task_soft_time_limit": 0.8 * limit, "broker_transport_options": options}


def _require_engine(**_: Any) -> None:
    """Stop a worker or beat of a project that has not installed the engine's app."""
    if not apps.is_installed("sagas"):
        logger.critical("%s Add it, and start this process again.", NOT_INSTALLED)
        raise SystemExit(EXIT_CODE)


def _check_engine(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """Check that the engine's app is installed. Its own checks run only if it is."""
    if apps.is_installed("sagas"):
        return []
    hint = "Add it. The app finds the steps, and has all other checks."
    return [checks.Error(NOT_INSTALLED, hint=hint, id="sagas.E112")]


def _complete(app: Celery) -> None:
    from sagas.storage.registry import service_names  # noqa: PLC0415  needs the app registry

    conf = app.conf
    if not conf.task_queues:
        names = dict.fromkeys([conf.task_default_queue, *service_names()])
        conf.task_queues = [Queue(name, Exchange(name), routing_key=name) for name in names]
    try:
        engine = beat_schedule() | _of_apps(conf.task_default_queue)
    except TypeError:  # a setting of the wrong type, which `check` names (sagas.E067)
        return
    conf.beat_schedule = _with_missing(conf.beat_schedule or {}, engine)


def _with_missing(own: Mapping[str, Entry], engine: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the project's entries, and those of the engine that the project does not have."""
    sent = {_sent_by(entry) for entry in own.values()}
    return {
        **{name: entry for name, entry in engine.items() if _sent_by(entry) not in sent},
        **own,
    }


def _sent_by(entry: Entry) -> tuple[Any, ...]:
    return (entry["task"], *entry.get("args", ())[:1])
