"""The tests' settings for a worker that knows the steps of a gift, and refuses on request."""

import os
from pathlib import Path
from typing import Any

from celery import signals

from tests.settings import *  # noqa: F403


@signals.worker_process_init.connect(weak=False)
def register_gift(**_: Any) -> None:
    """Register the steps in a process that runs tasks."""
    # The apps are not loaded before.
    from sagas.testing.variables import REFUSING  # noqa: PLC0415
    from sagas.testing.worker import refuse_on_request  # noqa: PLC0415
    from tests.gifts.steps import register  # noqa: PLC0415

    register()
    refuse_on_request(Path(os.environ["FAILPOINTS"]) / REFUSING)
