"""Register the steps of a domain app, and the outcomes that a step may return.

A step takes a batch of deliveries and returns one outcome for each, in the same order:

- an `Event`: the step is done;
- a `Refusal`: the step refuses, which is final (only for a step up to the pivot);
- `Unknown`: the outside system did not answer; the step is tried again until it does;
- `Waiting`: the outside system has not decided yet; the step asks again, and no attempt counts as
  failed;
- `Retry`: the step had no effect; it is tried again. After `SAGA_STEP_ATTEMPTS` attempts it is
  given up if the saga can still be undone; otherwise it is retried for ever.

For any other error, the step raises an exception. A step in one transaction is a function. A step
that calls an outside system is an `ExternalStep`, whose `call` runs with no transaction open.

An operator may complete a step that has a `ManualCompletion`, if they know that it was done.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from sagas.definition.events import Event, Notice, Refusal

__all__ = [
    "Batch",
    "Delivery",
    "ExternalStep",
    "ManualCompletion",
    "ManualCompletionRefused",
    "ManualConfirmation",
    "Outcome",
    "Retry",
    "StepDefinition",
    "Unknown",
    "Waiting",
    "action",
    "bar",
    "definition",
    "is_external",
    "names",
    "one_by_one",
    "undo",
]

# Seconds between two checks of a pivot that has started.
PIVOT_CHECK_SECONDS = 1.0

C = TypeVar("C", bound=msgspec.Struct)
Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Delivery(msgspec.Struct, Generic[C], frozen=True, kw_only=True):
    """A message that this worker has claimed, with its validated context.

    `attempt` counts from 1. `action_done` is for an undo: whether its action was done. If not, the
    action is barred for ever, and only an outside system may still have done it. `pivot_open` is
    for a bar: the pivot is an external step that has started, and its result is not known yet.
    `started_at` is when the saga started. It does not change if the service's tables are restored.
    """

    saga: UUID
    context: C
    started_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    attempt: int = 1
    action_done: bool = False
    pivot_open: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """The outside system's answer is not known, so ask again.

    `after`: seconds until it may be asked again.
    """

    reason: str
    after: float = 0.0


class Waiting(msgspec.Struct, frozen=True):
    """The outside system waits for a person or another system; check again in `pause` seconds.

    Waiting is not a failed attempt, so it never needs attention. `notice` is an event for the
    timeline.
    """

    reason: str
    pause: float = 30.0
    notice: Notice | None = None


class Retry(msgspec.Struct, frozen=True):
    """The step had no effect; try it again later."""

    reason: str


Batch: TypeAlias = Sequence[Delivery[C]]
Outcome: TypeAlias = Event | Unknown | Waiting | Retry
Handler: TypeAlias = Callable[[Batch[Any]], Sequence[Outcome]]


class ExternalStep(Generic[C, Request, Answer]):
    """A step that calls an outside system between two short transactions.

    All three methods take and return lists of the same length and order. `call` may run again for
    a saga whose answer was lost, and two workers may run it at once. So it must be idempotent by a
    key that `prepare` has committed. It must not raise because of one failed request; the answer
    to that request says so.
    """

    def prepare(self, batch: Batch[C]) -> Sequence[Request]:
        """Commit the intent, in the transaction of the inbox claim; return the requests."""
        raise NotImplementedError

    def call(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Send the requests to the outside system, with no transaction open."""
        raise NotImplementedError

    def record(self, batch: Batch[C], answers: Sequence[Answer]) -> Sequence[Outcome]:
        """Commit the answers of the deliveries that are still open; return their outcomes."""
        raise NotImplementedError


class NoContext(msgspec.Struct, frozen=True):
    """The context of a step that reads none."""


class ManualConfirmation(msgspec.Struct, frozen=True, kw_only=True):
    """A person's confirmation that a step was done outside.

    `by` is the person's user name. `reference` identifies the evidence in the outside system.
    """

    by: str
    evidence: str
    reference: str = ""


class ManualCompletionRefused(Exception):
    """The step cannot be marked as done. The text says why, and what to do instead."""


class ManualCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """How an operator completes a step.

    `record` commits the same changes as the step's success, or raises `ManualCompletionRefused`.
    It runs in the transaction that has locked the inbox row. If the step is an undo, its action is
    barred by then. `reference` names the reference that a person must give, such as "refund id".
    If it is empty, a reference is optional.
    """

    record: Callable[[Delivery[Any], ManualConfirmation], Event]
    reference: str = ""


class StepDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A registered step. `accepts` is the struct that its context is validated against."""

    name: str
    handler: Handler | ExternalStep[Any, Any, Any]
    accepts: type[msgspec.Struct]
    refusal: type[Refusal] | None = None
    manual: ManualCompletion | None = None


_definitions: dict[str, StepDefinition] = {}

H = TypeVar("H", bound=Callable[..., Any] | type[ExternalStep[Any, Any, Any]])


def action(
    name: str,
    *,
    accepts: type[msgspec.Struct],
    refusal: type[Refusal] | None = None,
    manual: ManualCompletion | None = None,
) -> Callable[[H], H]:
    """Register a forward step: a function, or an `ExternalStep` class.

    `accepts` is the struct that its context is validated against. `refusal` is the event written
    when the step is given up; every step up to the pivot needs one. Without `manual`, an operator
    cannot mark the step as done.
    """
    return _register(name, accepts, refusal, manual)


def undo(
    name: str, *, accepts: type[msgspec.Struct], manual: ManualCompletion | None = None
) -> Callable[[H], H]:
    """Register a compensation, or the step that ends a compensated saga. It may not refuse."""
    return _register(name, accepts, None, manual)


def bar(name: str, *, in_time: type[Event], too_late: type[Event]) -> Handler:
    """Register the step that bars a pivot outside its saga's home; return its handler.

    It publishes an `in_time` event if the pivot is barred, and a `too_late` event if it is done. If
    the pivot is an external step that has already started, it waits for the result, because the
    pivot cannot be undone from here.
    """

    def answer(delivery: Delivery[NoContext]) -> Outcome:
        if delivery.pivot_open:
            return Waiting(
                "The pivot has started, and its result is not known yet.", PIVOT_CHECK_SECONDS
            )
        return too_late() if delivery.action_done else in_time()

    return _register(name, NoContext, None, None)(one_by_one(answer))


def definition(name: str) -> StepDefinition | None:
    """Return the step registered under a name, or None if this process has none."""
    return _definitions.get(name)


def is_external(name: str) -> bool:
    """Return whether a step is registered in this process, and is an `ExternalStep`."""
    step = definition(name)
    return step is not None and isinstance(step.handler, ExternalStep)


def names() -> list[str]:
    """Return the names of all steps registered in this process."""
    return sorted(_definitions)


def one_by_one(handler: Callable[[Delivery[C]], Outcome]) -> Callable[[Batch[C]], list[Outcome]]:
    """Turn a handler of one delivery into a handler of a batch."""
    return lambda batch: [handler(delivery) for delivery in batch]


def _register(
    name: str,
    accepts: type[msgspec.Struct],
    refusal: type[Refusal] | None,
    manual: ManualCompletion | None,
) -> Callable[[H], H]:
    def register(handler: H) -> H:
        instance = handler() if isinstance(handler, type) else handler
        _definitions[name] = StepDefinition(
            name=name, handler=instance, accepts=accepts, refusal=refusal, manual=manual
        )
        return handler

    return register
