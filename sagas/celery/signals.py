"""What Celery's processes set up as they begin, drop as they end, and bind around each task:
logs, metrics, traces.
"""

import logging.config
from collections.abc import Mapping, Sequence
from typing import Any
from wsgiref.simple_server import WSGIServer

from celery import Task, signals
from django.conf import settings
from structlog.contextvars import bind_contextvars, clear_contextvars

from sagas.celery.task_args import messages_given
from sagas.observability import instrumentation, tracing
from sagas.operations import heartbeats

__all__ = ["watch"]

_servers: list[WSGIServer] = []


def watch() -> None:
    """Connect to Celery's signals. In a process that is none of Celery's, none is ever sent."""
    signals.setup_logging.connect(_set_up_logging)
    signals.worker_init.connect(_observe)
    signals.worker_ready.connect(_serve)
    signals.worker_ready.connect(_announce)
    signals.worker_process_init.connect(_leave_the_port)
    signals.worker_process_shutdown.connect(_say_goodbye)
    signals.task_prerun.connect(_bind)
    signals.task_postrun.connect(_unbind)


def _set_up_logging(**_: Any) -> None:
    """Log as the settings say: that this is connected keeps Celery from setting up its own."""
    logging.config.dictConfig(settings.LOGGING)


def _observe(**_: Any) -> None:
    """Begin to observe before the pool is forked, so that every child writes where the main
    process reads.
    """
    if settings.METRICS_PORT:
        instrumentation.start_meters()


def _serve(**_: Any) -> None:
    if settings.METRICS_PORT:
        from sagas.observability.prometheus import serve  # noqa: PLC0415  where it is off, not even imported

        server = serve(settings.METRICS_HOST, settings.METRICS_PORT)
        _servers.extend([server] if server else [])


def _announce(sender: Any, **_: Any) -> None:
    heartbeats.start_heartbeat(sender)


def _leave_the_port(**_: Any) -> None:
    """Close the child's copy of the socket: children that outlive a killed worker would hold the
    port.
    """
    for server in _servers:
        server.socket.close()


def _say_goodbye(**_: Any) -> None:
    tracing.stop()


def _bind(task: Task, task_id: str, args: Sequence[Any], **_: Any) -> None:
    """Name the task and its sagas on every line that is logged while it runs, Celery's own among
    them.
    """
    clear_contextvars()
    travellers = map(_traveller, messages_given(task.name, args))
    bind_contextvars(task=task.name, task_id=task_id, **instrumentation.ids(travellers))


def _unbind(**_: Any) -> None:
    clear_contextvars()


def _traveller(message: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    headers = message.get("headers")
    return str(message.get("saga")), headers if isinstance(headers, dict) else {}
