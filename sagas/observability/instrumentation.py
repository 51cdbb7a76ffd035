"""Instrumentation of the engine: log context, metrics and traces in one place.

The engine calls these functions at its few turning points, once for a batch. If metrics and traces
are off, a call costs a comparison.

- Metrics are on in a worker with METRICS_PORT, if prometheus-client is installed
  (`sagas.contrib.prometheus`).
- Traces are on if OpenTelemetry is installed and has an address (`sagas.observability.tracing`).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from django.db import transaction
from structlog.contextvars import bound_contextvars, get_contextvars

from sagas.definition.events import STEP_SKIPPED, Refusal, is_notice
from sagas.definition.handlers import Outcome, Retry, Unknown, Waiting
from sagas.definition.messages import Message, OutboxRow
from sagas.observability import tracing

if TYPE_CHECKING:
    from sagas.contrib.prometheus import WorkerMetrics

__all__ = [
    "detach_message",
    "end_message",
    "is_prometheus_installed",
    "load_prometheus",
    "log_context",
    "log_ids",
    "new_headers",
    "observe_call",
    "observe_publishing",
    "observe_run",
    "record_calls",
    "record_error",
    "record_failures",
    "record_outcomes",
    "record_redrive",
    "record_skipped",
    "resume_message",
    "resume_run",
    "run_isolated",
    "start_metrics",
]

# The most ids on the log line of a batch.
MAX_LOGGED_IDS = 20

# The header in which a saga's messages carry the id of the request that began the saga.
REQUEST_ID = "request_id"

_metrics: "WorkerMetrics | None" = None


T = TypeVar("T")


class HasSaga(Protocol):
    """A message or a row that belongs to one saga."""

    @property
    def saga(self) -> UUID: ...


class HasHeaders(HasSaga, Protocol):
    """A message, an outbox row or a timeline entry."""

    @property
    def headers(self) -> Mapping[str, str]: ...


def is_prometheus_installed() -> bool:
    """Whether the package of the extra [prometheus] is installed."""
    return find_spec("prometheus_client") is not None


def load_prometheus() -> Any:
    """Return the module of the metrics. It is loaded by name, because it is an extra."""
    return import_module("sagas.contrib.prometheus")


def start_metrics() -> "WorkerMetrics":
    """Record metrics from now on, in this process and in the processes it forks."""
    global _metrics  # noqa: PLW0603  one of each process

    _metrics = load_prometheus().WorkerMetrics()
    return _metrics


def record_queues(queues: Iterable[str]) -> None:
    """Record which queues this worker consumes."""
    if _metrics:
        for queue in queues:
            _metrics.queue.labels(queue).set(1)


def log_context(items: Iterable[HasHeaders]) -> AbstractContextManager[None]:
    """Add the ids of some sagas, and of the requests that began them, to each log line within."""
    return bound_contextvars(**log_ids((str(item.saga), item.headers) for item in items))


def log_ids(items: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, list[str]]:
    """Return the ids for a log line about some sagas, given with their headers.

    At most `MAX_LOGGED_IDS` of each kind.
    """
    pairs = list(items)
    sagas = dict.fromkeys(saga for saga, _ in pairs)
    requests = dict.fromkeys(headers[REQUEST_ID] for _, headers in pairs if REQUEST_ID in headers)
    return {
        "sagas": list(sagas)[:MAX_LOGGED_IDS],
        "request_ids": list(requests)[:MAX_LOGGED_IDS],
    }


def new_headers(saga: UUID, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the headers of a new saga: the id of the present request, and the trace context."""
    request_id = get_contextvars().get(REQUEST_ID)
    return {
        **({REQUEST_ID: request_id} if request_id else {}),
        **tracing.new_headers(saga),
        **(headers or {}),
    }


@contextmanager
def observe_run(step: str, messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Measure and trace the run of a step. Yield the messages, each with its span's context."""
    started_at = time.perf_counter()
    with tracing.processing(step, messages) as traced:
        yield traced

    if _metrics:
        with suppress(OSError):  # a full disk must not fail a step
            _metrics.batches.labels(step).observe(time.perf_counter() - started_at)


def observe_call(step: str, claimed: Iterable[HasSaga]) -> AbstractContextManager[None]:
    """Trace a call to an outside system for some messages."""
    if not tracing.is_on():
        return nullcontext()
    return tracing.calling(step, [message.saga for message in claimed])


def detach_message(message: Message) -> Any:
    """Keep the span of a message open after its run, and return it for `resume_message`."""
    return tracing.detach(message.saga)


def end_message(span: Any) -> None:
    """End the span of a message that `detach_message` has kept open."""
    tracing.end(span)


@contextmanager
def resume_message(message: Message, span: Any) -> Iterator[None]:
    """Go on with a message in another thread: its ids on the log lines, and its span."""
    with resume_run([message], {message.saga: span}):
        yield


@contextmanager
def resume_run(messages: Sequence[Message], spans: Mapping[UUID, Any]) -> Iterator[None]:
    """Go on with messages in another thread, as `resume_message` does."""
    with log_context(messages), tracing.resumed(spans):
        yield


def record_calls(loads: Mapping[str, tuple[int, int, int]]) -> None:
    """Record this process's calls in flight by destination: running, waiting, and the limit."""
    if not _metrics:
        return
    with suppress(OSError):
        for destination, (running, waiting, limit) in loads.items():
            _metrics.calls.labels(destination, "running").set(running)
            _metrics.calls.labels(destination, "waiting").set(waiting)
            _metrics.call_limit.labels(destination).set(limit)


def run_isolated(message: Message, run: Callable[[Message], T]) -> T:
    """Run one message of a batch by itself, with only its own ids on the log lines."""
    with log_context([message]):
        return run(message)


def record_error(message: Message, error: Exception) -> None:
    """Record an error of one message in its span. `record_failures` counts it later."""
    tracing.record_error(message.saga, error)


class _Outcomes(NamedTuple):
    """The outcomes of a batch, and the outbox rows that it wrote."""

    step: str
    by_saga: dict[UUID, str]
    rows: Sequence[OutboxRow]

    def record(self) -> None:
        tracing.record_outcomes(self.by_saga)
        if not _metrics:
            return

        _metrics.count(self.step, self.by_saga.values())
        _observe_ends(_metrics, self.rows)


def _observe_ends(metrics: "WorkerMetrics", rows: Iterable[OutboxRow]) -> None:
    for row in rows:
        ends_saga = row.target is None and not is_notice(row.type)
        if ends_saga and row.created_at:
            seconds = (row.created_at - row.started_at).total_seconds()
            metrics.sagas.labels(row.plan.home, row.type).observe(max(0.0, seconds))


def record_outcomes(
    alias: str,
    step: str,
    claimed: Iterable[HasSaga],
    outcomes: Iterable[Outcome],
    rows: Sequence[OutboxRow],
) -> None:
    """Record the outcomes of a batch, once the caller's transaction has committed."""
    if not (_metrics or tracing.is_on()):
        return

    with_next_step = {row.saga for row in rows if row.target}
    skipped = {row.saga for row in rows if row.type == STEP_SKIPPED}
    by_saga = {
        message.saga: "skipped"
        if message.saga in skipped
        else _name(outcome, has_next_step=message.saga in with_next_step)
        for message, outcome in zip(claimed, outcomes, strict=True)
    }
    record = _Outcomes(step, by_saga, rows).record
    transaction.on_commit(record, using=alias, robust=True)


def record_skipped(alias: str, step: str, *, duplicates: int, held: int) -> None:
    """Count messages that the step did not run for.

    `duplicates` were done before, barred, or leased to another worker. `held` are on hold.
    """
    if _metrics and duplicates + held:
        outcomes = ["duplicate"] * duplicates + ["held"] * held
        transaction.on_commit(partial(_metrics.count, step, outcomes), using=alias, robust=True)


def record_failures(
    alias: str, step: str, *, failed: int, over: int, rows: Sequence[OutboxRow]
) -> None:
    """Count failed attempts. `over` of them were the last attempt of their step, which is given up
    or skipped. `rows` are the outbox rows that they wrote.
    """
    if not _metrics:
        return
    skipped = sum(row.type == STEP_SKIPPED for row in rows)
    outcomes = ["failed"] * (failed - over)
    outcomes += ["given_up"] * (over - skipped) + ["skipped"] * skipped
    transaction.on_commit(partial(_metrics.count, step, outcomes), using=alias, robust=True)
    transaction.on_commit(partial(_observe_ends, _metrics, rows), using=alias, robust=True)


@contextmanager
def observe_publishing(service: str, rows: Sequence[OutboxRow]) -> Iterator[None]:
    """Log, count and trace the publishing of outbox rows."""
    with log_context(rows), tracing.publishing(service, rows), observe_failures_to_publish(service):
        yield

    if _metrics:
        with suppress(OSError):
            _metrics.published.labels(service).observe(len(rows))


@contextmanager
def observe_failures_to_publish(service: str) -> Iterator[None]:
    """Count a failure to reach the broker."""
    try:
        yield
    except Exception:
        if _metrics:
            _metrics.unpublished.labels(service).inc()
        raise


def record_redrive(home: str, sagas: int) -> None:
    """Record a re-drive round and the number of sagas that it re-drove."""
    if _metrics:
        with suppress(OSError):
            _metrics.last_redrive_at.labels(home).set(time.time())
            _metrics.redriven.labels(home).inc(sagas)


def _name(outcome: Outcome, *, has_next_step: bool) -> str:
    """Return the name of an outcome in metrics and spans."""
    match outcome:
        case Refusal():
            return "refused"
        case Unknown():
            return "unknown"
        case Waiting():
            return "waiting"
        case Retry():
            return "given_up" if has_next_step else "waiting"
    return "done"
