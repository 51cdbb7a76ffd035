"""The tasks of the services and of the project that beat sends, and how often.

`sagas.celery.configure` adds the tasks of the engine. A second beat does no harm, because each task
looks up in the database whether there is work.
"""

from typing import Any

from sagas.celery import rounds
from services import SERVICES

__all__ = ["beat_schedule"]

HOUR = 3600.0


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Return Celery's beat_schedule: the tasks of each service, and the tasks of the project."""
    of_services = {
        entry.name: rounds.entry(entry.name, entry.task, queue=service.name, seconds=entry.seconds)
        for service in SERVICES
        for entry in service.beat
    }
    return of_services | _of_the_project()


def _of_the_project() -> dict[str, dict[str, Any]]:
    """Return the tasks of the apps that declare none themselves. Workers of orders run them."""
    tasks = {
        "purge-logins": ("api.purge_logins", HOUR),
        "audit-changes": ("audit.check_changes", 60.0),
    }
    return {
        name: rounds.entry(name, task, queue="orders", seconds=seconds)
        for name, (task, seconds) in tasks.items()
    }
