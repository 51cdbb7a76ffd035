"""How a domain app says what its steps do.

A step takes a batch of deliveries and returns one outcome for each, in the same order:

- an `Event`: done;
- a `Refusal`: a definite no, final (only for a step up to the pivot);
- `Unknown`: an outside system did not say; it is asked again, for as long as it takes;
- `Waiting`: an outside system says that it is not decided; the same, but no fault;
- `Retry`: not now; tried again later, and given up after `SAGA_STEP_ATTEMPTS` tries.

Whatever else goes wrong is raised. A step in one transaction is a function; one that speaks to an
outside system is an `ExternalStep`, whose `call` runs with no transaction open.

A step whose outcome a person may know better has a `ManualCompletion` beside it: what commits when
they say that it is done.
"""

from collections.abc import Callable, Sequence
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

# Seconds between two looks at a pivot that is under way.
LOOK_AGAIN = 1.0

C = TypeVar("C", bound=msgspec.Struct)
Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Delivery(msgspec.Struct, Generic[C], frozen=True, kw_only=True):
    """One message that is ours to handle: claimed in the inbox, its context validated.

    `attempt` counts from 1. `action_done` matters to an undo: whether the action it undoes was
    done. If not, the action is barred for ever, and there is nothing to undo unless an outside
    system may have done it. `pivot_open` matters to what bars a pivot: an outside system is being
    asked to do it, and only its answer tells.
    """

    saga: UUID
    context: C
    attempt: int = 1
    action_done: bool = False
    pivot_open: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """The outside system's answer is not known; ask again, and never assume.

    `after`: seconds for which it does not want to be asked.
    """

    reason: str
    after: float = 0.0


class Waiting(msgspec.Struct, frozen=True):
    """The outside system waits, for a person or another system; look again in `pause` seconds.

    It counts as no try, however often it is looked at, and nobody is called. `notice` is what the
    timeline shall tell.
    """

    reason: str
    pause: float = 30.0
    notice: Notice | None = None


class Retry(msgspec.Struct, frozen=True):
    """The step could not be done now and had no effect; try again later."""

    reason: str


Batch: TypeAlias = Sequence[Delivery[C]]
Outcome: TypeAlias = Event | Unknown | Waiting | Retry
Handler: TypeAlias = Callable[[Batch[Any]], Sequence[Outcome]]


class ExternalStep(Generic[C, Request, Answer]):
    """A step that speaks to an outside system: two short transactions, and the call between them.

    All three take lists of the same length and order. `call` may run again for a saga whose earlier
    answer was lost, and two workers may run it at once: it must be idempotent by a key that
    `prepare` committed. It must not raise for one bad answer: the answer says so.
    """

    def prepare(self, batch: Batch[C]) -> Sequence[Request]:
        """Commit the intent, in the transaction of the inbox claim; return what to ask."""
        raise NotImplementedError

    def call(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Ask the outside system, with no transaction open."""
        raise NotImplementedError

    def record(self, batch: Batch[C], answers: Sequence[Answer]) -> Sequence[Outcome]:
        """Commit the answers of the deliveries that are still open, and say what they mean."""
        raise NotImplementedError


class NoContext(msgspec.Struct, frozen=True):
    """Reads nothing of a saga's context."""


class ManualConfirmation(msgspec.Struct, frozen=True, kw_only=True):
    """A person's word that a step was done outside: who says so, on what evidence, and a
    reference if there is one.
    """

    by: str
    evidence: str
    reference: str = ""


class ManualCompletionRefused(Exception):
    """The step cannot be marked as done, and the text says why, and what to do instead."""


class ManualCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """How a step is marked as done by hand: `record` commits what its success would, or raises
    `ManualCompletionRefused`.

    It runs in the transaction of the inbox row, which is locked; of an undo, the action is barred
    by then. `reference` names what must be given, such as "refund id"; where it is empty, a
    reference may be given.
    """

    record: Callable[[Delivery[Any], ManualConfirmation], Event]
    reference: str = ""


class StepDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A registered step: its handler, what it reads of the context, how it says no, and how it
    is done by hand.
    """

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

    `accepts` is the struct its context is validated against; `refusal` is the event written when it
    is given up, and is required of every step that a saga may refuse. Without manual nobody may
    mark it as done.
    """
    return _register(name, accepts, refusal, manual)


def undo(
    name: str, *, accepts: type[msgspec.Struct], manual: ManualCompletion | None = None
) -> Callable[[H], H]:
    """Register a compensation, or the step that ends an undone saga. It may not refuse."""
    return _register(name, accepts, None, manual)


def bar(name: str, *, in_time: type[Event], too_late: type[Event]) -> Handler:
    """Register the step that bars a pivot outside its saga's home, by the two events of which it
    tells one.

    A pivot that speaks to an outside system and has begun is waited for: what it does there cannot
    be taken back here.
    """

    def answer(delivery: Delivery[NoContext]) -> Outcome:
        if delivery.pivot_open:
            return Waiting("The pivot is under way.", LOOK_AGAIN)
        return too_late() if delivery.action_done else in_time()

    return _register(name, NoContext, None, None)(one_by_one(answer))


def definition(name: str) -> StepDefinition | None:
    """Return the step registered under a name, if this process knows it."""
    return _definitions.get(name)


def is_external(name: str) -> bool:
    """Tell whether a step speaks to an outside system, as far as this process knows it."""
    known = definition(name)
    return known is not None and isinstance(known.handler, ExternalStep)


def names() -> list[str]:
    """Return the names of all steps that this process knows."""
    return sorted(_definitions)


def one_by_one(handler: Callable[[Delivery[C]], Outcome]) -> Callable[[Batch[C]], list[Outcome]]:
    """Adapt a handler of one delivery to a handler of a batch."""
    return lambda batch: [handler(delivery) for delivery in batch]


def _register(
    name: str,
    accepts: type[msgspec.Struct],
    refusal: type[Refusal] | None,
    manual: ManualCompletion | None,
) -> Callable[[H], H]:
    def register(handler: H) -> H:
        made = handler() if isinstance(handler, type) else handler
        known = StepDefinition(
            name=name, handler=made, accepts=accepts, refusal=refusal, manual=manual
        )
        _definitions[name] = known
        return handler

    return register
