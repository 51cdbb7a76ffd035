"""For the processes of workers and beat: their heartbeats, the queues that are served, the steps
known there, and work of a task that waits for outside systems.
"""

import logging
import traceback
from collections.abc import Callable

from celery import Task

from sagas.execution import offloading
from sagas.operations.heartbeats import (
    DEAD_AFTER,
    WorkerHeartbeat,
    recent_heartbeats,
    seconds_since_beat,
)

__all__ = ["DEAD_AFTER", "WorkerHeartbeat", "offload", "recent_heartbeats", "seconds_since_beat"]

logger = logging.getLogger(__name__)

# Seconds after which other work goes on if a task has no time limit of its own.
LONGEST = 60.0


def offload(task: Task, work: Callable[[], object]) -> None:
    """Run the work of a periodic task that asks outside systems in a thread of the worker process.

        @shared_task(name="payments.follow", bind=True)
        def follow(self):
            offload(self, follow_up_once)

    The task ends at once, so its process runs steps while the outside thinks. A process runs such
    work one at a time. If the work of this task waits already, nothing changes; if it runs, it runs
    once more afterwards. An error is logged and stored as the failure of the task. A process that
    ends waits five seconds for the work. No time limit ends the work. Once it has taken as long as
    a task may, a log line says so with the next task, and other work no longer waits for it.

    The work may be lost with its process. So it must claim its rows with a lease, or be harmless if
    it runs twice. In a process that is no worker, such as a command, it runs now and raises.
    """
    request = task.request

    def fail(error: Exception) -> None:
        logger.error("The work of task %s failed", task.name, exc_info=error)
        text = "".join(traceback.format_exception(error))
        task.backend.mark_as_failure(request.id or task.name, error, text, request=request)

    longest = task.time_limit or task.app.conf.task_time_limit or LONGEST
    offloading.run(task.name, work, on_error=fail, longest=longest)
