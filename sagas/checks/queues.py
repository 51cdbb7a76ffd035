"""The queues that the workers of a project read."""

from celery import Celery

from sagas.storage.registry import service_names

__all__ = ["configured_queues", "queue_names"]


def queue_names(app: Celery) -> set[str]:
    """Return the queues of the services, and the queues that the project configures."""
    return {*service_names(), *configured_queues(app)}


def configured_queues(app: Celery) -> set[str]:
    """Return the names in CELERY_TASK_QUEUES, which Celery takes as a mapping or a sequence."""
    queues = app.conf.task_queues or ()
    if isinstance(queues, dict):
        return set(queues)
    return {getattr(queue, "name", queue) for queue in queues}
