"""How a domain app says what its steps do.

A step takes a batch of deliveries and returns one outcome for each, in the same order:

- an `Event`: done;
- a `Refusal`: a definite no, final (only for a step up to the pivot);
- `Unknown`: an outside system did not say; it is asked again, for as long as it takes;
- `Waiting`: an outside system says that it is not decided; the same, but no fault;
- `Retry`: not now; tried again later, and given up after `SAGA_STEP_ATTEMPTS` tries.

Whatever else goes wrong is raised. A step in one transaction is a function; one that speaks to an outside system is an
`External`, whose `call` runs with no transaction open.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from sagas.events import Event, Notice, Refusal

__all__ = [
    "Batch",
    "Delivery",
    "External",
    "Outcome",
    "Retry",
    "StepDefinition",
    "Unknown",
    "Waiting",
    "action",
    "definition",
    "names",
    "one_by_one",
    "undo",
]

C = TypeVar("C", bound=msgspec.Struct)
Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Delivery(msgspec.Struct, Generic[C], frozen=True, kw_only=True):
    """One message that is ours to handle: claimed in the inbox, its context validated.

    `attempt` counts from 1. `applied` matters to an undo: whether the action it undoes was done. If not, the action is
    barred for ever, and there is nothing to undo unless an outside system may have done it.
    """

    saga: UUID
    context: C
    attempt: int = 1
    applied: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """The outside system's answer is not known; ask again, and never assume.

    `after`: seconds for which it does not want to be asked.
    """

    reason: str
    after: float = 0.0


class Waiting(msgspec.Struct, frozen=True):
    """The outside system waits, for a person or another system; look again in `pause` seconds.

    It counts as no try, however often it is looked at, and nobody is called. `notice` is what the timeline shall tell.
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


class External(Generic[C, Request, Answer]):
    """A step that speaks to an outside system: two short transactions, and the call between them.

    All three take lists of the same length and order. `call` may run again for a saga whose earlier answer was lost,
    and two workers may run it at once: it must be idempotent by a key that `prepare` committed. It must not raise for
    one bad answer: the answer says so.
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


class StepDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A registered step: its handler, what it reads of the context, and how it says no."""

    name: str
    handler: Handler | External[Any, Any, Any]
    accepts: type[msgspec.Struct]
    refusal: type[Refusal] | None = None


_definitions: dict[str, StepDefinition] = {}

H = TypeVar("H", bound=Callable[..., Any] | type[External[Any, Any, Any]])


def action(name: str, *, accepts: type[msgspec.Struct], refusal: type[Refusal] | None = None) -> Callable[[H], H]:
    """Register a forward step: a function, or an `External` class.

    `accepts` is the struct its context is validated against; `refusal` is the event written when it is given up, and is
    required of every step that a saga may refuse.
    """
    return _register(name, accepts, refusal)


def undo(name: str, *, accepts: type[msgspec.Struct]) -> Callable[[H], H]:
    """Register a compensation, or the step that ends an undone saga. It may not refuse."""
    return _register(name, accepts, None)


def definition(name: str) -> StepDefinition | None:
    """Return the step registered under a name, if this process knows it."""
    return _definitions.get(name)


def names() -> list[str]:
    """Return the names of all steps that this process knows."""
    return sorted(_definitions)


def one_by_one(handler: Callable[[Delivery[C]], Outcome]) -> Callable[[Batch[C]], list[Outcome]]:
    """Adapt a handler of one delivery to a handler of a batch."""
    return lambda batch: [handler(delivery) for delivery in batch]


def _register(name: str, accepts: type[msgspec.Struct], refusal: type[Refusal] | None) -> Callable[[H], H]:
    def register(handler: H) -> H:
        made = handler() if isinstance(handler, type) else handler
        _definitions[name] = StepDefinition(name=name, handler=made, accepts=accepts, refusal=refusal)
        return handler

    return register
