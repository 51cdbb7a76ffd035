"""The span of a message whose call is in flight ends when the answer is recorded."""

import threading
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sagas.contrib import otel
from sagas.definition.messages import Message
from sagas.ids import uuid7
from sagas.observability import instrumentation, tracing


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = otel.Spans.__new__(otel.Spans)  # without an address to send to
    spans._tracer = provider.get_tracer("tests")
    monkeypatch.setattr(tracing, "_spans", spans)
    return exporter


def test_the_call_and_the_outcome_belong_to_the_span_of_the_message(
    exporter: InMemorySpanExporter,
) -> None:
    message = Message(id=uuid7(), saga=uuid7(), started_at=datetime.now(UTC), seq=1, context={})
    with tracing.processing("trips.pay", [message]):
        span = instrumentation.detach_message(message)
    assert exporter.get_finished_spans() == ()

    def call() -> None:
        with (
            instrumentation.resume_message(message, span),
            instrumentation.observe_call("trips.pay", [message]),
        ):
            pass

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    with instrumentation.resume_run([message], {message.saga: span}):
        tracing.record_outcomes({message.saga: "done"})
    instrumentation.end_message(span)

    called, processed = exporter.get_finished_spans()
    assert called.parent is not None
    assert processed.context is not None
    assert called.parent.span_id == processed.context.span_id
    assert (processed.attributes or {})["saga.outcome"] == "done"
