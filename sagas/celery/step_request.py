"""The only module that reads or changes the request of a Celery task.

When a task ends, Celery reads from its request the error callbacks to call, the next task of the
chain, and the data to store with a failure. A running task changes them here, because it can no
longer change its message in the broker.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from celery import Task

from sagas.celery.task_args import messages_from_args

__all__ = [
    "attach_failures",
    "copy_args_to_error_callbacks",
    "drop_chain",
    "drop_next_task",
    "messages_of",
    "retries_so_far",
    "task_and_step",
]

# run_step and its error callback, fail_step, have these arguments in common: step, plan, messages.
SHARED_ARGS = 3

# Their first argument is the step.
STEP_TASKS = ("sagas.run_step", "sagas.fail_step")

Json = Mapping[str, Any]


def retries_so_far(task: Task) -> int:
    """Return how often Celery has retried the running task."""
    retries: int = task.request.retries
    return retries


def attach_failures(task: Task, failures: Sequence[Json], *, callback: str) -> None:
    """Add failures to the arguments of the running task's error callback, a task of this name."""
    for signature in task.request.errbacks or ():
        if signature["task"] == callback:
            signature["kwargs"]["reported"] = failures


def drop_next_task(task: Task) -> None:
    """Remove the next task from the running task's chain. Celery keeps it last in the list."""
    chain: Any = task.request.chain
    if chain:
        chain.pop()


def drop_chain(request: Any) -> None:
    """Drop the chain behind a failed task. Celery would store the failure once more for the chain,
    although its tasks never ran.
    """
    request.chain = None


def copy_args_to_error_callbacks(request: Any) -> None:
    """Give each error callback without arguments those of the failed task that it needs."""
    for signature in request.errbacks or ():
        signature["args"] = signature["args"] or list(request.args[:SHARED_ARGS])


def messages_of(request: Any) -> list[dict[str, Any]]:
    """Return the messages of a request. This process need not know its task."""
    return messages_from_args(getattr(request, "task", None), getattr(request, "args", None))


def task_and_step(request: Any) -> tuple[str, str]:
    """Return the name of a request's task, and its step; the step is empty for other tasks."""
    task = str(getattr(request, "task", None) or getattr(request, "name", None) or "")
    args = getattr(request, "args", None)
    if task not in STEP_TASKS or not isinstance(args, list | tuple) or not args:
        return task, ""
    return task, str(args[0])
