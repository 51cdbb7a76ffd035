"""Traces, where OpenTelemetry is installed and told where to send them; otherwise nothing, at the
cost of a comparison.

One trace for each saga, by way of the outbox: a row's headers hold the W3C trace context of the
span that wrote it, and the span of the next step has that one as its parent, whichever process runs
it and however often.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING
from uuid import UUID

from sagas.definition.messages import Message, OutboxRow

if TYPE_CHECKING:
    from sagas.observability.opentelemetry import Spans

__all__ = [
    "calling",
    "failed",
    "new_headers",
    "on",
    "processing",
    "publishing",
    "record_outcomes",
    "start",
    "stop",
    "wanted",
]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_spans: "Spans | None" = None


def wanted() -> bool:
    """Tell whether this process is told where to send traces."""
    return (
        any(os.environ.get(name) for name in ENDPOINTS)
        and os.environ.get("OTEL_SDK_DISABLED") != "true"
    )


def installed() -> bool:
    """Tell whether `requirements-otel.txt` is installed."""
    return all(
        find_spec(name) for name in ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter")
    )


def start() -> None:
    """Trace from now on, if it is wanted and possible."""
    global _spans  # noqa: PLW0603  one of each process
    if wanted() and installed() and _spans is None:
        from sagas.observability.opentelemetry import Spans  # noqa: PLC0415  an extra: it may not be there

        _spans = Spans()


def stop() -> None:
    """Send what is left, as this process ends."""
    if _spans:
        _spans.flush()


def on() -> bool:
    """Tell whether this process traces."""
    return _spans is not None


def new_headers(saga: UUID) -> dict[str, str]:
    """Return the context of the span that is current, for the headers of the saga it begins."""
    return _spans.new_headers(saga) if _spans else {}


def processing(step: str, messages: Sequence[Message]) -> AbstractContextManager[Sequence[Message]]:
    """Trace the run of a step, with one span for each message; yield the messages with the spans
    in their headers.
    """
    return _spans.processing(step, messages) if _spans else nullcontext(messages)


def calling(step: str, sagas: Sequence[UUID]) -> AbstractContextManager[None]:
    """Trace a call to an outside system, with one span for each saga."""
    return _spans.calling(step, sagas) if _spans else nullcontext()


def publishing(service: str, envelopes: Sequence[OutboxRow]) -> AbstractContextManager[None]:
    """Trace the sending of rows of an outbox, with one span for each."""
    return _spans.publishing(service, envelopes) if _spans else nullcontext()


def record_outcomes(outcomes: Mapping[UUID, str]) -> None:
    """Write outcomes to the spans of the step that runs."""
    if _spans:
        _spans.record_outcomes(outcomes)


def failed(saga: UUID, error: Exception) -> None:
    """Write an error to the span of a saga in the step that runs."""
    if _spans:
        _spans.failed(saga, error)
