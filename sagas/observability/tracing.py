"""Traces, if OpenTelemetry is installed and has an address. Otherwise a call costs a comparison.

Each saga is one trace. The headers of an outbox row hold the W3C trace context of the span that
wrote the row. That span is the parent of the next step's span, in whichever process and however
often the step runs.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sagas.definition.messages import Message, OutboxRow

if TYPE_CHECKING:
    from sagas.contrib.otel import Spans

__all__ = [
    "calling",
    "detach",
    "end",
    "is_configured",
    "is_installed",
    "is_on",
    "new_headers",
    "processing",
    "publishing",
    "record_error",
    "record_outcomes",
    "resumed",
    "start",
    "stop",
]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

# The packages of the extra, each after its parent: a package without its parent cannot be found.
PACKAGES = (
    "opentelemetry",
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "opentelemetry.instrumentation",
    "opentelemetry.instrumentation.django",
)

_spans: "Spans | None" = None


def is_configured() -> bool:
    """Whether the environment has an address for traces."""
    has_endpoint = any(os.environ.get(name) for name in ENDPOINTS)
    return has_endpoint and os.environ.get("OTEL_SDK_DISABLED") != "true"


def is_installed() -> bool:
    """Whether the packages of the extra [otel] are installed."""
    return all(find_spec(name) for name in PACKAGES)


def start() -> None:
    """Trace from now on, if OpenTelemetry is configured and installed."""
    global _spans  # noqa: PLW0603  one of each process
    if is_configured() and is_installed() and _spans is None:
        _spans = import_module("sagas.contrib.otel").Spans()  # by name, because it is an extra


def stop() -> None:
    """Send the remaining spans, as this process ends."""
    if _spans:
        _spans.flush()


def is_on() -> bool:
    """Whether this process traces."""
    return _spans is not None


def new_headers(saga: UUID) -> dict[str, str]:
    """Return the trace context of the current span, for the headers of a new saga."""
    return _spans.new_headers(saga) if _spans else {}


def processing(step: str, messages: Sequence[Message]) -> AbstractContextManager[Sequence[Message]]:
    """Trace the run of a step, one span for each message.

    Yield the messages with the context of their spans in their headers.
    """
    return _spans.processing(step, messages) if _spans else nullcontext(messages)


def calling(step: str, sagas: Sequence[UUID]) -> AbstractContextManager[None]:
    """Trace a call to an outside system, one span for each saga."""
    return _spans.calling(step, sagas) if _spans else nullcontext()


def detach(saga: UUID) -> Any:
    """Take the span of a saga out of the running step, so that it does not end with the run."""
    return _spans.detach(saga) if _spans else None


def resumed(spans: Mapping[UUID, Any]) -> AbstractContextManager[None]:
    """Go on with detached spans, in another thread."""
    return _spans.resumed(spans) if _spans else nullcontext()


def end(span: Any) -> None:
    """End a detached span."""
    if span is not None:
        span.end()


def publishing(service: str, rows: Sequence[OutboxRow]) -> AbstractContextManager[None]:
    """Trace the publishing of outbox rows, one span for each row that has a target."""
    return _spans.publishing(service, rows) if _spans else nullcontext()


def record_outcomes(outcomes: Mapping[UUID, str]) -> None:
    """Set the outcome on the span of each saga in the running step."""
    if _spans:
        _spans.record_outcomes(outcomes)


def record_error(saga: UUID, error: Exception) -> None:
    """Set an error on the span of a saga in the running step."""
    if _spans:
        _spans.record_error(saga, error)
