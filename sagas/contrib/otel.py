"""Creates the spans with OpenTelemetry. `sagas.observability.tracing` imports it where it is
installed.

A batch has no span. Each of its messages has a span in the trace of its own saga, with the size of
the batch as an attribute. The attributes are OpenTelemetry's for messaging, and `saga.*`. None
contains data of a saga's context.
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from msgspec.structs import replace
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import service_name

__all__ = ["Spans"]

NAME = "order-saga"

# Monitoring requests these every few seconds, and none of them concerns a saga.
UNTRACED = "healthz,readyz,metrics"

# Milliseconds for sending the remaining spans as a process ends.
FLUSH_TIMEOUT = 2_000

_w3c = TraceContextTextMapPropagator()
_running: ContextVar[dict[UUID, Span]] = ContextVar("running", default={})  # noqa: B039  never written to


class Spans:
    """The spans of this process. `sagas.observability.tracing` calls it where tracing is on."""

    def __init__(self) -> None:
        attributes = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: NAME}
        self._provider = TracerProvider(resource=Resource.create(attributes))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("sagas")

        os.environ.setdefault("OTEL_PYTHON_DJANGO_EXCLUDED_URLS", UNTRACED)
        propagate.set_global_textmap(_w3c)  # no baggage: it would carry a client's data along
        DjangoInstrumentor().instrument(tracer_provider=self._provider)

    def flush(self) -> None:
        """Send the remaining spans."""
        self._provider.force_flush(FLUSH_TIMEOUT)

    def new_headers(self, saga: UUID) -> dict[str, str]:
        """Return the current span's context, and set the saga's id on the span."""
        span = trace.get_current_span()
        span.set_attribute("saga.id", str(saga))
        return _context_of(span)

    @contextmanager
    def processing(self, step: str, messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
        """Trace the run of a step."""
        spans = {
            message.saga: self._of_message(step, message, len(messages)) for message in messages
        }
        token = _running.set(spans)
        try:
            yield [
                replace(message, headers={**message.headers, **_context_of(spans[message.saga])})
                for message in messages
            ]
        except Exception as error:
            for span in spans.values():
                _fail(span, error)
            raise
        finally:
            _running.reset(token)
            for span in spans.values():
                span.end()

    def detach(self, saga: UUID) -> Span | None:
        """Take the span of a saga out of the running step; the caller ends it."""
        spans = _running.get()
        return spans.pop(saga) if saga in spans else None

    @contextmanager
    def resumed(self, spans: Mapping[UUID, Span | None]) -> Iterator[None]:
        """Go on with detached spans."""
        token = _running.set({saga: span for saga, span in spans.items() if span is not None})
        try:
            yield
        finally:
            _running.reset(token)

    @contextmanager
    def calling(self, step: str, sagas: Sequence[UUID]) -> Iterator[None]:
        """Trace a call to an outside system.

        The span of a single call becomes the current span, so that the client's own spans are its
        children.
        """
        parents = _running.get()
        spans = [
            self._tracer.start_span(
                f"call {step}",
                trace.set_span_in_context(parents[saga]),
                SpanKind.CLIENT,
                {"saga.id": str(saga)},
            )
            for saga in sagas
            if saga in parents
        ]
        try:
            if len(spans) == 1:
                with trace.use_span(spans[0]):
                    yield
            else:
                yield
        except Exception as error:
            for span in spans:
                _fail(span, error)
            raise
        finally:
            for span in spans:
                span.end()

    @contextmanager
    def publishing(self, service: str, rows: Sequence[OutboxRow]) -> Iterator[None]:
        """Trace the publishing of the rows that have a target."""
        started_at, failure = time.time_ns(), None
        try:
            yield
        except Exception as error:
            failure = error
            raise
        finally:
            for row in rows:
                if row.target:
                    self._of_row(service, row, row.target, started_at, len(rows), failure)

    def record_outcomes(self, outcomes: Mapping[UUID, str]) -> None:
        """Set the outcome on the span of each saga in the running step."""
        spans = _running.get()
        for saga, outcome in outcomes.items():
            if saga in spans:
                spans[saga].set_attribute("saga.outcome", outcome)

    def record_error(self, saga: UUID, error: Exception) -> None:
        """Set an error on the span of a saga in the running step."""
        if span := _running.get().get(saga):
            _fail(span, error)

    def _of_message(self, step: str, message: Message, batch: int) -> Span:
        attributes = {
            **_messaging("process", step, message.id, message.saga, batch),
            "saga.step": step,
            "saga.seq": message.seq,
            "saga.attempt": message.attempt + 1,
        }
        return self._tracer.start_span(
            f"process {step}", _w3c.extract(message.headers), SpanKind.CONSUMER, attributes
        )

    def _of_row(
        self,
        service: str,
        row: OutboxRow,
        target: str,
        started_at: int,
        batch: int,
        failure: Exception | None,
    ) -> None:
        attributes = {
            **_messaging("send", target, row.id, row.saga, batch),
            "saga.service": service,
            "saga.event": row.type,
        }
        span = self._tracer.start_span(
            f"send {target}",
            _w3c.extract(row.headers),
            SpanKind.PRODUCER,
            attributes,
            start_time=started_at,
        )
        if failure:
            _fail(span, failure)
        span.end()


def _messaging(
    operation: str, step: str, message: UUID, saga: UUID, batch: int
) -> dict[str, AttributeValue]:
    return {
        "messaging.system": "celery",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": service_name(step),
        "messaging.message.id": str(message),
        "messaging.message.conversation_id": str(saga),
        "messaging.batch.message_count": batch,
        "saga.id": str(saga),
    }


def _context_of(span: Span) -> dict[str, str]:
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(span))
    return carrier


def _fail(span: Span, error: Exception) -> None:
    """Mark a span as failed with the error's type only, because its text may quote a row."""
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR))
