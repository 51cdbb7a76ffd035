"""Check that beat sends every service the tasks without which its sagas stand still."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from celery import Celery

from sagas.checks.findings import Finding
from sagas.checks.queues import queue_names
from sagas.storage.registry import home_names, service_names

__all__ = ["findings"]


class Periodic(NamedTuple):
    """A task that beat must send to a service: the id of its check, and the harm without it."""

    id: str
    task: str
    without: str


OF_SERVICES = (
    Periodic(
        "sagas.E023",
        "sagas.flush",
        "Without it, a message whose first sending failed waits until its saga is re-driven.",
    ),
    Periodic(
        "sagas.E024",
        "sagas.release_held",
        "Without it, messages stay on hold after an operator has released them.",
    ),
)
OF_HOMES = (
    Periodic("sagas.E025", "sagas.rescue", "Without it, a saga whose message is lost never ends."),
    Periodic("sagas.E026", "sagas.purge_ended", "Without it, its tables grow without limit."),
)


def findings(app: Celery) -> Iterator[Finding]:
    """Yield the tasks that beat does not send, and entries for queues without a worker."""
    schedule: Mapping[str, Mapping[str, Any]] = app.conf.beat_schedule or {}
    sent = {(entry["task"], *entry.get("args", ())[:1]) for entry in schedule.values()}

    for names, periodic in ((service_names(), OF_SERVICES), (home_names(), OF_HOMES)):
        for name, task in product(names, periodic):
            if (task.task, name) not in sent:
                yield _missing(task, name)

    yield from _unknown_queues(app, schedule)


def _missing(periodic: Periodic, service: str) -> Finding:
    return Finding(
        periodic.id,
        f"Beat does not send {periodic.task!r} to the service {service!r}.",
        f"Add it to CELERY_BEAT_SCHEDULE with the argument {service!r} and the queue {service!r}. "
        f"{periodic.without}",
    )


def _unknown_queues(app: Celery, schedule: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    known = queue_names(app)
    for name, entry in sorted(schedule.items()):
        queue = entry.get("options", {}).get("queue", app.conf.task_default_queue)
        if queue not in known:
            yield Finding(
                "sagas.E027",
                f"The beat entry {name!r} sends its task to the queue {queue!r}, which no service "
                "has.",
                "Set options={'queue': …} of the entry to the name of a service, or add the queue "
                "to CELERY_TASK_QUEUES. Workers read no other queue.",
            )
