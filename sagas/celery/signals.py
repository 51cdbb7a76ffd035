"""Handlers of Celery's signals: they set up and tear down logs, metrics and traces."""

import logging.config
from collections.abc import Mapping, Sequence
from typing import Any
from wsgiref.simple_server import WSGIServer

from celery import Task, signals
from django.conf import settings
from structlog.contextvars import bind_contextvars, clear_contextvars

from sagas.celery.task_args import messages_from_args
from sagas.observability import instrumentation, tracing
from sagas.operations import heartbeats

__all__ = ["connect_handlers"]

_metrics_servers: list[WSGIServer] = []


def connect_handlers() -> None:
    """Connect to Celery's signals. Only Celery's own processes send them."""
    signals.setup_logging.connect(_set_up_logging)
    signals.worker_init.connect(_start_meters)
    signals.worker_ready.connect(_serve_metrics)
    signals.worker_ready.connect(_start_heartbeat)
    signals.worker_process_init.connect(_close_inherited_sockets)
    signals.worker_process_shutdown.connect(_stop_tracing)
    signals.task_prerun.connect(_bind_log_context)
    signals.task_postrun.connect(_clear_log_context)


def _set_up_logging(**_: Any) -> None:
    """Use the logging settings. Because this handler is connected, Celery sets up none itself."""
    logging.config.dictConfig(settings.LOGGING)


def _start_meters(**_: Any) -> None:
    """Start before the pool forks, so that all children write where the main process reads."""
    if settings.METRICS_PORT:
        instrumentation.start_metrics()


def _serve_metrics(**_: Any) -> None:
    if settings.METRICS_PORT:
        from sagas.observability.prometheus import serve  # noqa: PLC0415  not loaded where it is off

        server = serve(settings.METRICS_HOST, settings.METRICS_PORT)
        if server:
            _metrics_servers.append(server)


def _start_heartbeat(sender: Any, **_: Any) -> None:
    heartbeats.start_heartbeat(sender)


def _close_inherited_sockets(**_: Any) -> None:
    """Close a child's copy of the metrics socket, because children can outlive a killed worker and
    would occupy the port.
    """
    for server in _metrics_servers:
        server.socket.close()


def _stop_tracing(**_: Any) -> None:
    tracing.stop()


def _bind_log_context(task: Task, task_id: str, args: Sequence[Any], **_: Any) -> None:
    """Add the task and its sagas to every log line of the task, including Celery's own."""
    clear_contextvars()
    messages = messages_from_args(task.name, args)
    ids = instrumentation.log_ids(map(_saga_and_headers, messages))
    bind_contextvars(task=task.name, task_id=task_id, **ids)


def _clear_log_context(**_: Any) -> None:
    clear_contextvars()


def _saga_and_headers(message: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    headers = message.get("headers")
    return str(message.get("saga")), headers if isinstance(headers, dict) else {}
