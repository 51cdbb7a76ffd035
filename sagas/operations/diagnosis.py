"""The faults of a running system: databases, broker, workers and beat.

`sagas_doctor` prints them all. Workers look at databases and broker when they start. The checks of
`sagas.checks` look at settings only; these functions connect.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from celery import Celery
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, NotSupportedError, connections, models, router
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from sagas.definition import handlers
from sagas.definition.plan import service_name
from sagas.models import BASES
from sagas.operations import heartbeats
from sagas.operations.heartbeats import WorkerHeartbeat
from sagas.storage.registry import service_names

__all__ = ["Problem", "beat_problems", "broker_problems", "database_problems", "worker_problems"]

# Seconds without a task from beat that are no fault: its heartbeat is due every five seconds.
BEAT_PAUSE = 60.0

# The errors of a client whose address is wrong, or whose broker is away.
BROKER_ERRORS = (KombuError, RedisError, OSError, ValueError, KeyError)

COLUMNS = """
SELECT c.relname, a.attname
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relname = ANY(%s) AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped
"""


class NotServed(Exception):
    """This process does not use the database, so it is none of its problems."""


class Problem(NamedTuple):
    """A fault in a sentence, and its remedy.

    `is_final`: waiting does not mend it, so a process must not start.
    """

    text: str
    remedy: str
    is_final: bool = False

    def __str__(self) -> str:
        return f"{self.text} {self.remedy}"


def database_problems() -> Iterator[Problem]:
    """Yield databases that cannot be reached or are too old, and missing tables and columns.

    A project without any service is a problem too.
    """
    if not service_names():
        yield Problem(
            "No installed app has the tables of a service, so no saga runs.",
            "Add the app whose model is derived from ServiceTables to INSTALLED_APPS.",
        )
    for alias, tables in _models_by_alias().items():
        services = " and ".join(sorted({model._meta.app_label for model in tables}))
        try:
            columns = _columns(alias, [model._meta.db_table for model in tables])
        except NotServed:
            continue
        except NotSupportedError as error:
            yield Problem(
                f"The database {alias!r} of {services} is too old: {_one_line(error)}.",
                "Upgrade PostgreSQL.",
                is_final=True,
            )
        except DatabaseError as error:
            yield Problem(
                f"The database {alias!r} of {services} cannot be reached: {_one_line(error)}.",
                "Start it, or correct its address in DATABASES.",
            )
        else:
            yield from _missing(alias, tables, columns)


def broker_problems(app: Celery) -> Iterator[Problem]:
    """Yield whether the broker of a Celery app cannot be reached. It is asked once.

    A check names an app without an address. Its default would be another server.
    """
    if not (app.conf.broker_url or app.conf.broker_write_url):
        return
    with app.connection_for_write() as connection:
        try:
            connection.connect()
            channel: Any = connection.default_channel
            channel.client.ping()
        except BROKER_ERRORS as error:
            yield Problem(
                f"The broker {_address(app)} cannot be reached: {_one_line(error)}.",
                "Start it, or correct CELERY_BROKER_URL. Meanwhile messages wait in the outboxes.",
            )


def worker_problems(app: Celery) -> Iterator[Problem]:
    """Yield queues without a live worker, and workers that do not know a step."""
    try:
        workers = [worker for worker in heartbeats.recent_heartbeats() if worker.alive]
    except BROKER_ERRORS as error:
        yield _no_heartbeats(error)
        return

    for service in service_names():
        serving = [worker for worker in workers if service in worker.queues]
        if not serving:
            yield Problem(
                f"No worker takes the queue {service!r}, so no step of {service} runs.",
                f"Start one: celery -A PROJECT worker -Q {service}",
            )
        for worker in serving:
            yield from _unknown_steps(service, worker)

    yield from _without_worker(app, workers)


def beat_problems() -> Iterator[Problem]:
    """Yield whether beat does not run. An unreadable heartbeat is a problem of the workers."""
    try:
        seconds = heartbeats.seconds_since_beat()
    except BROKER_ERRORS:
        return

    if seconds is None or seconds > BEAT_PAUSE:
        since = "a day" if seconds is None else f"{seconds:.0f} s"
        yield Problem(
            f"Beat has sent no task for {since}, so lost messages are not sent again.",
            "Start one: celery -A PROJECT beat, or a worker with --beat.",
        )


def _without_worker(app: Celery, workers: Iterable[WorkerHeartbeat]) -> Iterator[Problem]:
    """Yield whether no worker takes the periodic tasks of other apps, such as the console."""
    queue = app.conf.task_default_queue
    if queue in service_names() or any(queue in worker.queues for worker in workers):
        return
    entries = (app.conf.beat_schedule or {}).values()
    tasks = {each["task"] for each in entries if each.get("options", {}).get("queue") == queue}
    if tasks:
        names = ", ".join(sorted(tasks))
        yield Problem(
            f"No worker takes the default queue {queue!r}, so these tasks never run: {names}.",
            f"Start one: celery -A PROJECT worker -Q {queue}",
        )


def _models_by_alias() -> dict[str, list[type[models.Model]]]:
    """Return the engine's models by database, without databases that are none of PostgreSQL."""
    found: dict[str, list[type[models.Model]]] = {}
    for model in apps.get_models():
        if issubclass(model, BASES):
            found.setdefault(router.db_for_write(model), []).append(model)
    return {alias: tables for alias, tables in found.items() if _is_postgresql(alias)}


def _is_postgresql(alias: str) -> bool:
    """Tell whether this process can use a database, and it is PostgreSQL. Checks report others."""
    try:
        return bool(connections[alias].vendor == "postgresql")
    except (ImproperlyConfigured, ImportError):
        return False


def _columns(alias: str, tables: list[str]) -> dict[str, set[str]]:
    """Return the columns of some tables by table. Close the connection again."""
    connection = connections[alias]
    was_open = connection.connection is not None
    try:
        _open(connection)
        with connection.cursor() as cursor:
            cursor.execute(COLUMNS, [tables])
            rows = cursor.fetchall()
    finally:
        if not was_open:
            connection.close()

    columns: dict[str, set[str]] = {}
    for table, column in rows:
        columns.setdefault(table, set()).add(column)
    return columns


def _open(connection: Any) -> None:
    """Open a connection. Raises `NotServed` if the backend refuses before it connects."""
    try:
        connection.ensure_connection()
    except NotSupportedError as error:
        if connection.connection is None:
            raise NotServed from error
        raise


def _missing(
    alias: str, tables: Iterable[type[models.Model]], columns: dict[str, set[str]]
) -> Iterator[Problem]:
    absent = [model for model in tables if model._meta.db_table not in columns]
    if absent:
        names = ", ".join(sorted(model._meta.db_table for model in absent))
        yield Problem(f"The database {alias!r} has no table {names}.", _migrate(absent), True)

    for model in tables:
        fields = model._meta.local_concrete_fields
        wanted = {field.column for field in fields if field.column}
        found = columns.get(model._meta.db_table, wanted)
        if lacking := sorted(wanted - found):
            yield Problem(
                f"The table {model._meta.db_table} has no column {', '.join(lacking)}.",
                _migrate([model]),
                is_final=True,
            )


def _migrate(tables: Iterable[type[models.Model]]) -> str:
    labels = " ".join(sorted({model._meta.app_label for model in tables}))
    return f"Run manage.py makemigrations {labels}, and then manage.py migrate."


def _unknown_steps(service: str, worker: WorkerHeartbeat) -> Iterator[Problem]:
    own = {name for name in handlers.names() if service_name(name) == service}
    if worker.steps is not None and (unknown := sorted(own - worker.steps)):
        yield Problem(
            f"The worker {worker.name} takes the queue {service!r}, but does not know the step "
            f"{', '.join(unknown)}.",
            "Start it again with this release.",
        )


def _no_heartbeats(error: Exception) -> Problem:
    return Problem(
        f"The heartbeats of workers cannot be read from Redis: {_one_line(error)}.",
        "Start Redis, or correct REDIS_URL. Without it, the engine uses CELERY_BROKER_URL.",
    )


def _address(app: Celery) -> str:
    """Return the address of the broker without user and password."""
    url: Any = app.conf.broker_write_url or app.conf.broker_url
    scheme, separator, rest = str(url).partition("//")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(". ") or type(error).__name__
