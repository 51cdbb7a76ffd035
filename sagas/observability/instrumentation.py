"""Seeing what the engine does: the ids on its log lines, its metrics and its traces, in one place.

The engine calls these at its few turning points, once for a batch. What is off costs a comparison:
metrics are on in a worker with METRICS_PORT (`sagas.observability.prometheus`), traces where
OpenTelemetry is installed and has an address (`sagas.observability.tracing`).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar
from uuid import UUID

from django.db import transaction
from structlog.contextvars import bound_contextvars, get_contextvars

from sagas.definition.events import Refusal, is_notice
from sagas.definition.handlers import Outcome, Retry, Unknown, Waiting
from sagas.definition.messages import Message, OutboxRow
from sagas.observability import tracing

if TYPE_CHECKING:
    from sagas.observability.prometheus import Meters

__all__ = [
    "calling",
    "counted",
    "failed",
    "ids",
    "log_context",
    "new_headers",
    "publishing",
    "rescued",
    "run_isolated",
    "running",
    "settled",
    "skipped",
    "start_meters",
]

# The most ids on a line about a batch.
MOST_IDS = 20

# Under this name the id of the request that began a saga travels in its messages.
REQUEST_ID = "request_id"

_meters: "Meters | None" = None


T = TypeVar("T")


class HasSaga(Protocol):
    """Whatever belongs to one saga."""

    @property
    def saga(self) -> UUID:
        """The saga it belongs to."""


class HasHeaders(HasSaga, Protocol):
    """A message, a row of the outbox or an entry of the timeline."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What travels with it."""


def start_meters() -> "Meters":
    """Observe from now on, in this process and those it forks."""
    global _meters  # noqa: PLW0603  one of each process
    from sagas.observability.prometheus import Meters  # noqa: PLC0415  where it is off, not even imported

    _meters = Meters()
    return _meters


def log_context(travellers: Iterable[HasHeaders]) -> AbstractContextManager[None]:
    """Bind the ids of sagas and of the requests that began them to what is logged in this
    context.
    """
    return bound_contextvars(**ids((str(one.saga), one.headers) for one in travellers))


def ids(travellers: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, list[str]]:
    """Return what a log line about some sagas, given with their headers, names: at most
    `MOST_IDS` of each.
    """
    found = list(travellers)
    requests = dict.fromkeys(headers[REQUEST_ID] for _, headers in found if REQUEST_ID in headers)
    sagas = dict.fromkeys(saga for saga, _ in found)
    return {"sagas": list(sagas)[:MOST_IDS], "request_ids": list(requests)[:MOST_IDS]}


def new_headers(saga: UUID, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the headers a saga begins with: the request it is begun by, and the trace."""
    request_id = get_contextvars().get(REQUEST_ID)
    return {
        **({REQUEST_ID: request_id} if request_id else {}),
        **tracing.new_headers(saga),
        **(headers or {}),
    }


@contextmanager
def running(step: str, messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Observe the run of a step; yield the messages as they travel on, each with its span."""
    began = time.perf_counter()
    with tracing.processing(step, messages) as traced:
        yield traced
    if _meters:
        with suppress(OSError):  # a full disk fails no step
            _meters.batches.labels(step).observe(time.perf_counter() - began)


def calling(step: str, claimed: Iterable[HasSaga]) -> AbstractContextManager[None]:
    """Observe a call to an outside system for some messages."""
    return tracing.calling(step, [one.saga for one in claimed]) if tracing.on() else nullcontext()


def run_isolated(message: Message, again: Callable[[Message], T]) -> T:
    """Run a message of a batch by itself, with what is logged bound to it alone."""
    with log_context([message]):
        return again(message)


def failed(message: Message, error: Exception) -> None:
    """Observe an error that is a message's own. The try is counted when it counts (`counted`)."""
    tracing.failed(message.saga, error)


class _Settled(NamedTuple):
    step: str
    outcomes: dict[UUID, str]
    envelopes: Sequence[OutboxRow]

    def record_outcomes(self) -> None:
        tracing.record_outcomes(self.outcomes)
        if _meters:
            _meters.count(self.step, self.outcomes.values())
            for row in self.envelopes:
                if row.target is None and not is_notice(row.type) and row.created_at:
                    seconds = (row.created_at - row.started_at).total_seconds()
                    _meters.sagas.labels(row.plan.home, row.type).observe(max(0.0, seconds))


def settled(
    alias: str,
    step: str,
    claimed: Iterable[HasSaga],
    outcomes: Iterable[Outcome],
    envelopes: Sequence[OutboxRow],
) -> None:
    """Observe outcomes, once the caller's transaction has committed them."""
    if _meters or tracing.on():
        onward = {row.saga for row in envelopes if row.target}
        named = {
            one.saga: _name(outcome, onward=one.saga in onward)
            for one, outcome in zip(claimed, outcomes, strict=True)
        }
        tell = _Settled(step, named, envelopes).record_outcomes
        transaction.on_commit(tell, using=alias, robust=True)


def skipped(alias: str, step: str, *, duplicates: int, held: int) -> None:
    """Observe messages for which nothing is done: done before, barred, or in another's hands;
    and those put on hold.
    """
    if _meters and duplicates + held:
        outcomes = ["duplicate"] * duplicates + ["held"] * held
        transaction.on_commit(partial(_meters.count, step, outcomes), using=alias, robust=True)


def counted(alias: str, step: str, *, failed: int, given_up: int) -> None:
    """Observe tries that failed, and steps that were given up with them."""
    if _meters:
        outcomes = ["failed"] * (failed - given_up) + ["given_up"] * given_up
        transaction.on_commit(partial(_meters.count, step, outcomes), using=alias, robust=True)


@contextmanager
def publishing(service: str, envelopes: Sequence[OutboxRow]) -> Iterator[None]:
    """Observe the sending of rows of an outbox."""
    with log_context(envelopes), tracing.publishing(service, envelopes):
        try:
            yield
        except Exception:
            if _meters:
                _meters.unpublished.labels(service).inc()
            raise
    if _meters:
        with suppress(OSError):
            _meters.published.labels(service).observe(len(envelopes))


def rescued(home: str, sagas: int) -> None:
    """Observe a round of the rescue."""
    if _meters:
        with suppress(OSError):
            _meters.rescued_at.labels(home).set(time.time())
            _meters.redriven.labels(home).inc(sagas)


def _name(outcome: Outcome, *, onward: bool) -> str:
    match outcome:
        case Refusal():
            return "refused"
        case Unknown():
            return "unknown"
        case Waiting():
            return "waiting"
        case Retry():
            return "given_up" if onward else "waiting"
    return "done"
