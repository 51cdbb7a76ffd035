"""Signatures of the engine's Celery tasks."""

from typing import Any

from celery import current_app
from celery.canvas import Signature

__all__ = ["task_signature"]


def task_signature(name: str, *args: Any, queue: str, argsrepr: str | None = None) -> Signature:
    """Return an immutable signature of the task `sagas.<name>`, for the queue of a service.

    `argsrepr` is the text that operators see instead of long arguments. Without it, Celery formats
    all of them for each message.
    """
    options = {"argsrepr": argsrepr} if argsrepr else {}
    return current_app.signature(f"sagas.{name}", args=args, queue=queue, immutable=True, **options)
