"""The settings of a worker of an older release, which does not know one step.

The variable CHAOS_UNKNOWN_STEP names the step.
"""

import os
from typing import Any

from celery import signals

from config.settings import *  # noqa: F403

UNKNOWN_STEP = os.environ["CHAOS_UNKNOWN_STEP"]


@signals.worker_process_init.connect(weak=False)
def forget_step(**_: Any) -> None:
    """Forget the step in a process that runs tasks, after the checks at the start have passed."""
    from sagas.definition import handlers  # noqa: PLC0415  the apps are not loaded before

    handlers._definitions.pop(UNKNOWN_STEP, None)
