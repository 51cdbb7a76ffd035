"""The tests' settings for a worker that knows the steps of a tour."""

from typing import Any

from celery import signals

from tests.settings import *  # noqa: F403


@signals.worker_process_init.connect(weak=False)
def register_tour(**_: Any) -> None:
    """Register the steps in a process that runs tasks."""
    from tests.tours.steps import register  # noqa: PLC0415  the apps are not loaded before

    register()
