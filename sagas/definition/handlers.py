"""Register the steps of a domain app, and the outcomes that a step may return.

A step takes one delivery and returns its outcome. Or it takes a batch, and returns one outcome for
each delivery, in the same order. The annotation of its parameter, `Delivery[…]` or `Batch[…]`, says
which. The outcomes:

- an `Event`: the step is done;
- a `Refusal`: the step refuses, which is final (only for a step up to the pivot);
- `Unknown`: the outside system did not answer; the step is tried again until it does;
- `Waiting`: the outside system has not decided yet; the step asks again, and no attempt counts as
  failed;
- `Retry`: the step had no effect; it is tried again. After its `tries`, or `SAGA_STEP_ATTEMPTS`, it
  is given up if the saga can still be undone; otherwise it is retried for ever.

For any other error, the step raises an exception. A step in one transaction is a function. A step
that calls an outside system is an `ExternalStep`, whose `call` runs with no transaction open.

An operator may complete a step that has a `ManualCompletion`, if they know that it was done.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import update_wrapper
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from sagas.definition.child_rules import ChildRule
from sagas.definition.events import Event, Notice, Refusal, WaitClosed, WaitsForSignal
from sagas.definition.limits import Limit
from sagas.definition.names import Registrations
from sagas.definition.policy import DEFAULT_POLICY, Backoff, Policy
from sagas.definition.signatures import Signature, resolve
from sagas.definition.waits import TimerRule, WaitRule, WaitState, closing_step

__all__ = [
    "AgreedWait",
    "AsyncExternalStep",
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
    "context_of",
    "definition",
    "is_external",
    "is_timer",
    "names",
    "one_by_one",
    "policy_of",
    "register",
    "substituted",
    "undo",
    "wait",
]

# Seconds between two checks of a pivot that has started.
PIVOT_CHECK_SECONDS = 1.0

C = TypeVar("C", bound=msgspec.Struct)
Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Delivery(msgspec.Struct, Generic[C], frozen=True, kw_only=True):
    """A message that this worker has claimed, with its validated context.

    `attempt` counts from 1, without the `uncounted` attempts: their process was lost, maybe in the
    middle of a call, or they failed by no fault of the saga. `action_done` is for an undo: whether
    its action was done. If not, the action is barred for ever, and only an outside system may still
    have done it. `pivot_open` is for a bar: the pivot is an external step that has started, and its
    result is not known yet. `wait` is for a wait or a timer: its signal and its expiry.
    `started_at` is when the saga started. It does not change if the service's tables are restored.
    """

    saga: UUID
    context: C
    started_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    attempt: int = 1
    uncounted: int = 0
    action_done: bool = False
    pivot_open: bool = False
    wait: WaitState | None = None


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


class AgreedWait(Waiting, frozen=True):
    """A wait has got no signal yet, or the time of a timer has not come.

    `pause` is not shortened at random: it ends at the expiry, or at that time.
    """


class Retry(msgspec.Struct, frozen=True):
    """The step had no effect; try it again later."""

    reason: str


Batch: TypeAlias = Sequence[Delivery[C]]
Outcome: TypeAlias = Event | Unknown | Waiting | Retry
Handler: TypeAlias = Callable[[Batch[Any]], Sequence[Outcome]]


class ExternalStep(Generic[C, Request, Answer]):
    """A step that calls an outside system between two short transactions.

    `prepare`, `call` and `record` take and return lists of the same length and order. `call` may
    run again for a saga whose answer was lost, and two workers may run it at once. So it must be
    idempotent by a key that `prepare` has committed. It must not raise because of one failed
    request; the answer to that request says so.

    A request with a `destination` is a call in flight: a worker's task does not wait for it. It is
    called alone, in a thread. `budget`: seconds after which the outcome of a call in flight counts
    as unknown; `action(…, budget=…)` replaces it for one step. A later answer is still recorded,
    unless the step has ended by then. The client of the outside system needs time limits of its
    own, which end a call within the budget.
    """

    budget: ClassVar[float] = 20.0

    def prepare(self, batch: Batch[C]) -> Sequence[Request]:
        """Commit the intent, in the transaction of the inbox claim; return the requests."""
        raise NotImplementedError

    def destination(self, request: Request) -> str | None:
        """Return the outside system that a request goes to, or None if it answers at once.

        Requests to one destination share a limit of calls at once that adapts to its answers, and
        the limits of its keys (see `limit`). If a destination gives no answer, only the requests to
        it go on hold, so name each system that can fail by itself. Requests without a destination
        are called together, and the task waits for their answers. The engine calls this method in
        the transaction of `prepare`, so it must not call.

        A name is 1 to 150 printable characters, and neither begins nor ends with a blank. For any
        other text the step fails before the call, which is a fault of the step and not of the saga.
        """
        return None

    def limit(self, key: str) -> Limit | None:
        """Return the default limit of a key of this step's calls in flight; None for no limit.

        The keys are the step's name, the destination, and each part of the destination that ends
        before a slash, such as `bank` of `bank/merchant-7`. An operator may replace the limit while
        the workers run. Each message that finds a limit reached waits in its row, uncounted.
        """
        return None

    def call(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Send the requests to the outside system, with no transaction open."""
        raise NotImplementedError

    def record(self, batch: Batch[C], answers: Sequence[Answer]) -> Sequence[Outcome]:
        """Commit the answers of the deliveries that are still open; return their outcomes."""
        raise NotImplementedError


class AsyncExternalStep(ExternalStep[C, Request, Answer]):
    """A step that calls an outside system in the event loop of its process, not in a thread."""

    async def call(self, requests: Sequence[Request]) -> Sequence[Answer]:  # type: ignore[override]  # the engine awaits it
        """Send the requests to the outside system, with no transaction open."""
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
    """A registered step. `accepts` is the struct that its context is validated against.

    `returns`: the event whose facts travel on with the saga, for later steps.
    `wait` is the rule of a step that waits for a signal, and `timer` that of a timer.
    `child` is that of a step that starts another saga.
    """

    name: str
    handler: Handler | ExternalStep[Any, Any, Any]
    accepts: type[msgspec.Struct]
    refusal: type[Refusal] | None = None
    manual: ManualCompletion | None = None
    policy: Policy = DEFAULT_POLICY
    returns: type[Event] | None = None
    wait: WaitRule | None = None
    timer: TimerRule | None = None
    child: ChildRule | None = None


_definitions: dict[str, StepDefinition] = {}
_registrations = Registrations(
    "The step",
    __file__,
    str(Path(__file__).with_name("timers.py")),
    str(Path(__file__).parents[1] / "children.py"),
)

H = TypeVar("H", bound=Callable[..., Any] | type[ExternalStep[Any, Any, Any]])


def action(  # noqa: PLR0913  all by keyword
    name: str,
    *,
    accepts: type[msgspec.Struct] | None = None,
    refusal: type[Refusal] | None = None,
    manual: ManualCompletion | None = None,
    batch: bool | None = None,
    returns: type[Event] | None = None,
    tries: int | None = None,
    backoff: Backoff | None = None,
    most_in_batch: int | None = None,
    budget: float | None = None,
) -> Callable[[H], H]:
    """Register a forward step: a function of a delivery or of a batch, or an `ExternalStep` class.

    `accepts` is the struct that the context is validated against, and `batch` says whether the
    function takes a batch. Without them, the annotation of the parameter says both. `refusal` is
    the event written when the step is given up; every step up to the pivot needs one. Without
    `manual`, an operator cannot mark the step as done. `returns` is the event of the done step: its
    facts travel on, and later steps read them with `From`. Raises `NameTaken` if another handler
    has the name, and TypeError if neither the annotation nor the arguments say what the step takes.

    The other arguments are the step's policy. `tries`: the attempts before the step is given up
    (default: SAGA_STEP_ATTEMPTS). `backoff`: the pauses between them. `most_in_batch`: the most
    messages of one run (default and upper limit: OUTBOX_BATCH_SIZE). `budget`: seconds for the
    answer to one call in flight of an `ExternalStep`. `manage.py check` rejects a wrong value.
    """
    policy = _policy(tries, backoff, most_in_batch, budget)
    return register(name, Signature(accepts, batch), refusal, manual, policy, returns)


def undo(  # noqa: PLR0913  all by keyword
    name: str,
    *,
    accepts: type[msgspec.Struct] | None = None,
    manual: ManualCompletion | None = None,
    batch: bool | None = None,
    tries: int | None = None,
    backoff: Backoff | None = None,
    most_in_batch: int | None = None,
    budget: float | None = None,
) -> Callable[[H], H]:
    """Register a compensation, or the step that ends a compensated saga. It may not refuse.

    The arguments are as for `action`. An undo is never given up: when its `tries` end, its saga
    needs attention. It returns nothing to later steps.
    """
    policy = _policy(tries, backoff, most_in_batch, budget)
    return register(name, Signature(accepts, batch), None, manual, policy)


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

    return register(name, Signature(NoContext, batch=True), None, None)(one_by_one(answer))


def wait(
    name: str,
    *,
    answer: type[Event],
    expires: timedelta,
    expired: Event,
    refusal: type[Refusal] | None = None,
) -> None:
    """Register a step that waits for a signal, and the step that closes it on the way back.

        wait("fraud.review", answer=Reviewed, refusal=Rejected,
             expires=timedelta(days=3), expired=NotReviewed(code=…, detail=…))

    `sagas.signal` answers it with an `answer`, whose fields are the data of the signal. With a
    `refusal` the step refuses. Without a signal, the step ends `expires` after its message came.
    It ends with the event `expired`: a `Refusal` up to the pivot, any other event after it. A
    saga that waits sends no message, counts no attempt, and raises no alarm. If `expired` is a
    `Refusal`, later steps may read the answer with `From`.
    """
    rule = WaitRule(answer=answer, expires=expires, expired=expired, refusal=refusal)

    def answered(delivery: Delivery[NoContext]) -> Outcome:
        return _outcome_of_wait(name, rule, delivery)

    def closed(delivery: Delivery[NoContext]) -> Outcome:
        return WaitClosed(step=name)

    # A wait that is done without an answer has no result, so it returns none to later steps.
    given_up = type(expired) if isinstance(expired, Refusal) else None
    returns = answer if given_up else None
    signature = Signature(NoContext, batch=True)
    register(name, signature, given_up, None, returns=returns)(one_by_one(answered))
    _definitions[name] = msgspec.structs.replace(_definitions[name], wait=rule)
    register(closing_step(name), signature, None, None)(one_by_one(closed))


def context_of(
    name: str, function: Callable[..., Any] | None, accepts: type[msgspec.Struct] | None
) -> type[msgspec.Struct]:
    """Return the struct that a function of a delivery reads. Raises TypeError as `action` does."""
    if function is None:
        return accepts or NoContext
    given = Signature(accepts, batch=False)
    return resolve(name, function, given, delivery=Delivery, external=ExternalStep).accepts


def definition(name: str) -> StepDefinition | None:
    """Return the step registered under a name, or None if this process has none."""
    return _definitions.get(name)


def policy_of(name: str) -> Policy:
    """Return the policy of a step: the default one if this process does not know the step."""
    step = definition(name)
    return step.policy if step else DEFAULT_POLICY


def is_external(name: str) -> bool:
    """Return whether a step is registered in this process, and is an `ExternalStep`."""
    step = definition(name)
    return step is not None and isinstance(step.handler, ExternalStep)


def is_timer(name: str) -> bool:
    """Return whether a step is registered in this process, and is a timer."""
    step = definition(name)
    return step is not None and step.timer is not None


def names() -> list[str]:
    """Return the names of all steps registered in this process."""
    return sorted(_definitions)


@contextmanager
def substituted(substitute: StepDefinition) -> Iterator[None]:
    """Let this process run another handler for a registered step while the context lasts."""
    original = _definitions[substitute.name]
    _definitions[substitute.name] = substitute
    try:
        yield
    finally:
        _definitions[substitute.name] = original


def one_by_one(handler: Callable[[Delivery[C]], Outcome]) -> Callable[[Batch[C]], list[Outcome]]:
    """Turn a handler of one delivery into a handler of a batch."""

    def handle_batch(batch: Batch[C]) -> list[Outcome]:
        return [handler(delivery) for delivery in batch]

    # An error of the registration then names the handler.
    return update_wrapper(handle_batch, handler, ("__module__", "__qualname__"), ())


def _outcome_of_wait(step: str, rule: WaitRule, delivery: Delivery[NoContext]) -> Outcome:
    state = delivery.wait
    if state is None or state.expires_at is None:
        raise LookupError(f"{step} is a wait, but its inbox row was not read.")
    if state.signal is not None:
        return rule.event(state.signal.type, state.signal.data)
    if state.seconds_left <= 0:
        return rule.expired
    return AgreedWait(
        reason=f"Waits for a signal until {state.expires_at:%Y-%m-%d %H:%M:%S} UTC.",
        pause=state.seconds_left,
        notice=WaitsForSignal(step=step, waits_until=state.expires_at),
    )


def register(  # noqa: PLR0913  the functions above are the front door
    name: str,
    given: Signature,
    refusal: type[Refusal] | None,
    manual: ManualCompletion | None,
    policy: Policy = DEFAULT_POLICY,
    returns: type[Event] | None = None,
    *,
    timer: TimerRule | None = None,
    child: ChildRule | None = None,
) -> Callable[[H], H]:
    """Register a handler under a name. `action`, `wait`, `child` and the others call it.

    Raises as `action` does.
    """

    def register_handler(handler: H) -> H:
        _registrations.claim(name, handler)
        takes = resolve(name, handler, given, delivery=Delivery, external=ExternalStep)
        if isinstance(handler, type):
            instance: Any = handler()
            if policy.budget is not None:
                instance.budget = policy.budget
        else:
            instance = handler if takes.batch else one_by_one(handler)
        _definitions[name] = StepDefinition(
            name=name,
            handler=instance,
            accepts=takes.accepts,
            refusal=refusal,
            manual=manual,
            policy=policy,
            returns=returns,
            timer=timer,
            child=child,
        )
        return handler

    return register_handler


def _policy(
    tries: int | None, backoff: Backoff | None, most_in_batch: int | None, budget: float | None
) -> Policy:
    return Policy(
        tries=tries, backoff=backoff or Backoff(), most_in_batch=most_in_batch, budget=budget
    )
