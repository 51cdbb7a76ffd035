"""Handlers of Celery's signals: they set up and tear down logs, metrics and traces."""

import logging.config
import time
from collections.abc import Mapping, Sequence
from typing import Any
from wsgiref.simple_server import WSGIServer

from celery import Task, current_app, signals
from django.conf import settings as django_settings
from structlog.contextvars import bind_contextvars, clear_contextvars

from sagas.celery.task_args import messages_from_args
from sagas.conf import settings
from sagas.execution import in_flight, network_guard, offloading
from sagas.observability import instrumentation, tracing
from sagas.operations import heartbeats

__all__ = ["connect_handlers"]

# Seconds for which a process that ends waits for work that asks outside systems.
TIME_TO_END = 5.0

_metrics_servers: list[WSGIServer] = []


def connect_handlers() -> None:
    """Connect to Celery's signals. Only Celery's own processes send them."""
    if settings.USE_DJANGO_LOGGING:
        signals.setup_logging.connect(_set_up_logging)
    signals.worker_init.connect(_guard_steps)
    signals.worker_init.connect(_start_meters)
    signals.worker_ready.connect(_serve_metrics)
    signals.worker_ready.connect(_start_heartbeat)
    signals.beat_init.connect(_record_beat)
    signals.beat_embedded_init.connect(_record_beat)
    signals.worker_process_init.connect(_close_inherited_sockets)
    signals.worker_process_init.connect(_forget_dead_processes)
    signals.worker_init.connect(_let_calls_fly)
    signals.worker_process_init.connect(_let_calls_fly)
    signals.worker_shutting_down.connect(_refuse_calls)
    signals.worker_shutdown.connect(_await_calls)
    signals.worker_process_shutdown.connect(_await_calls)
    signals.worker_process_shutdown.connect(_stop_tracing)
    signals.task_prerun.connect(_bind_log_context)
    signals.task_postrun.connect(_clear_log_context)


def _set_up_logging(**_: Any) -> None:
    """Use the logging settings. Because this handler is connected, Celery sets up none itself."""
    logging.config.dictConfig(django_settings.LOGGING)


def _guard_steps(**_: Any) -> None:
    """Report steps that connect to other systems in their transaction."""
    network_guard.install()


def _with_metrics() -> bool:
    """Whether this worker serves metrics. A check warns if prometheus-client is missing."""
    return bool(settings.METRICS_PORT) and instrumentation.is_prometheus_installed()


def _start_meters(**_: Any) -> None:
    """Start before the pool forks, so that all children write where the main process reads."""
    if _with_metrics():
        instrumentation.start_metrics()


def _serve_metrics(sender: Any, **_: Any) -> None:
    if _with_metrics():
        instrumentation.record_queues(sender.app.amqp.queues.consume_from)
        prometheus = instrumentation.load_prometheus()
        server = prometheus.serve(settings.METRICS_HOST, settings.METRICS_PORT)
        if server:
            _metrics_servers.append(server)


def _start_heartbeat(sender: Any, **_: Any) -> None:
    heartbeats.start_heartbeat(sender)


def _record_beat(**_: Any) -> None:
    """Send a heartbeat after each task that beat has published."""
    signals.after_task_publish.connect(_task_published)


def _task_published(**_: Any) -> None:
    heartbeats.record_beat()


def _close_inherited_sockets(**_: Any) -> None:
    """Close a child's copy of the metrics socket, because children can outlive a killed worker and
    would occupy the port.
    """
    for server in _metrics_servers:
        server.socket.close()


def _forget_dead_processes(**_: Any) -> None:
    """Remove the gauges of the child that this one replaces."""
    if _with_metrics():
        instrumentation.load_prometheus().forget_dead_processes()


def _let_calls_fly(**_: Any) -> None:
    """Let the calls of external steps fly, in a process that runs tasks."""
    in_flight.start()


def _refuse_calls(**_: Any) -> None:
    """Claim no more messages whose calls would fly. Celery sends the signal to the main process."""
    in_flight.refuse()


def _await_calls(**_: Any) -> None:
    """Wait for the answers of the calls in flight, as a process of the worker ends. Other work that
    asks outside systems gets a few seconds, because a later round goes on with it.

    A child of the pool ends here too, once it has run its most tasks. The main process joins it,
    and starts no other before.
    """
    until = time.monotonic() + current_app.conf.task_time_limit
    offloading.drop_waiting()
    in_flight.stop(current_app.conf.task_time_limit)
    offloading.stop(max(0.0, min(TIME_TO_END, until - time.monotonic())))


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
