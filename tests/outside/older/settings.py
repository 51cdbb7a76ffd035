"""The tests' settings with a worker that forgets a step once its checks have passed."""

from typing import Any

from celery import signals

from tests.settings import *  # noqa: F403

UNKNOWN_STEP = "inventory.reserve"


@signals.worker_process_init.connect(weak=False)
def forget_step(**_: Any) -> None:
    """Forget the step in a process that runs tasks."""
    from sagas.definition import handlers  # noqa: PLC0415  the apps are not loaded before

    handlers._definitions.pop(UNKNOWN_STEP, None)
