"""The tests' settings for a worker that awaits the calls of `trips.pay`."""

from typing import Any

from celery import signals

from tests.settings import *  # noqa: F403


@signals.worker_process_init.connect(weak=False)
def await_payments(**_: Any) -> None:
    """Replace the step in a process that runs tasks."""
    from tests.trips.awaited_pay import replace_pay  # noqa: PLC0415  the apps are not loaded before

    replace_pay()
