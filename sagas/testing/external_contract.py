"""The contract of an external step: what the engine relies on, as tests of the step of a project.

    class TestShip(ExternalStepContract):
        step = "shop.ship"
        lacks = {Case.REFUSED: "The carrier takes every parcel."}

        def delivery(self, case): ...
        def effects(self, delivery): ...
        def fault(self, case): ...

The tests run the step's own code as the engine does: `prepare` in a transaction, `call` without
one, `record` in a transaction. They need neither a saga nor a broker.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from functools import partial
from threading import Barrier, Thread
from typing import Any, ClassVar, TypeVar, cast

from django.db import connections, transaction
from msgspec.structs import replace

from sagas.definition import handlers
from sagas.definition.events import Event, Refusal
from sagas.definition.handlers import (
    AsyncExternalStep,
    Delivery,
    ExternalStep,
    Outcome,
    Retry,
    Unknown,
)
from sagas.storage.registry import service_of_step

__all__ = ["Case", "ExternalStepContract"]

F = TypeVar("F", bound=Callable[..., None])

# How often a step asks again before the outside system must have answered.
MOST_TRIES = 10

# Calls that start at the same moment, and the seconds in which all must end.
CALLS_AT_ONCE = 4
LIMIT = 60.0


class Case(StrEnum):
    """The fate of the first request of a delivery."""

    ORDINARY = "the outside system acts and answers"
    REFUSED = "the outside system refuses for good, and does not act"
    UNREACHABLE = "the request does not reach the outside system"
    NO_ANSWER = "the outside system acts, and its answer is lost"


def needs(*cases: Case, undo: bool = False) -> Callable[[F], F]:
    """Declare the cases without which a test is left out, and whether it needs an undo."""

    def declare(test: F) -> F:
        test.__dict__["needs"] = (cases, undo)
        return test

    return declare


class ExternalStepContract:
    """The tests of one external step. Derive a class whose name begins with `Test`.

    `step` is the registered name of the action, and `undo` that of its undo, if it has one and that
    is an `ExternalStep` too. `lacks` names each case that the outside system does not have, with
    the reason; the class has the tests of all others. Defining the class raises TypeError if a
    reason is missing, or if it lacks ORDINARY.

    The tests need the database of the step. With `pytest-django`, mark the class with
    `django_db(transaction=True, databases="__all__")`, because two of them call in threads.
    """

    step: ClassVar[str] = ""
    undo: ClassVar[str] = ""
    lacks: ClassVar[Mapping[Case, str]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls.step:
            return
        if not all(cls.lacks.values()) or Case.ORDINARY in cls.lacks:
            raise TypeError(f"{cls.__name__}.lacks must give a reason, and not for ORDINARY.")
        for name, test in vars(ExternalStepContract).items():
            if not hasattr(test, "needs"):
                continue
            cases, undo = test.needs
            if any(case in cls.lacks for case in cases) or (undo and not cls.undo):
                setattr(cls, name, None)  # pytest then finds no test
            elif getattr(cls, name) is None:  # left out of a base class
                setattr(cls, name, test)

    # The methods of the project: they know its outside system.

    def delivery(self, case: Case) -> Delivery[Any]:
        """Return a delivery of a new saga, whose request meets a case."""
        raise NotImplementedError

    def effects(self, delivery: Delivery[Any]) -> int:
        """Return how often the outside system has acted for a delivery, without undone acts.

        Ask the outside system itself, not the rows of the step.
        """
        raise NotImplementedError

    def fault(self, case: Case) -> AbstractContextManager[Any]:
        """Let a case happen to the requests in the context. Not needed if `delivery` sees to it.

        A REFUSED delivery is refused without it too, because it is in a batch with others.
        """
        return nullcontext()

    # The tests.

    def test_it_acts_once_and_reports_an_event(self) -> None:
        """One request has one effect."""
        delivery = self.delivery(Case.ORDINARY)
        self._must_end(delivery)
        self._must_have(delivery, 1)

    def test_a_step_that_runs_again_acts_once(self) -> None:
        """A worker died before the call, after it, and after the record: the key stays the same."""
        delivery = self.delivery(Case.ORDINARY)
        self._prepare(self.step, delivery)
        self._call(self.step, self._prepare(self.step, delivery))
        first = self._must_end(delivery)
        again = self._must_end(replace(delivery, attempt=2))
        _require(
            type(first) is type(again),
            f"{self.step} first reported {first!r}, and then {again!r}.",
        )
        self._must_have(delivery, 1)

    def test_calls_at_once_act_once(self) -> None:
        """Two workers may have the same message."""
        delivery = self.delivery(Case.ORDINARY)
        requests = [self._prepare(self.step, delivery) for _ in range(CALLS_AT_ONCE)]
        _at_once([partial(self._call, self.step, sent) for sent in requests])
        self._must_end(delivery)
        self._must_have(delivery, 1)

    def test_each_request_of_a_batch_has_its_own_answer(self) -> None:
        """The answers are in the order of the requests, also if one request fails."""
        refused = () if Case.REFUSED in self.lacks else (Case.REFUSED,)
        cases = (Case.ORDINARY, *refused, Case.ORDINARY)
        batch = [self.delivery(case) for case in cases]
        outcomes = self._run(self.step, *batch)
        for case, delivery, outcome in zip(cases, batch, outcomes, strict=True):
            event = self._end_of(delivery, outcome)
            _require(
                isinstance(event, Refusal) == (case is Case.REFUSED),
                f"The case of a request was that {case}, but it was reported as {event!r}.",
            )
            self._must_have(delivery, int(case is Case.ORDINARY))

    @needs(Case.REFUSED)
    def test_a_refusal_is_an_outcome_and_stays(self) -> None:
        """The step reports the refusal that it declares, raises nothing, and never acts."""
        delivery = self.delivery(Case.REFUSED)
        definition = self._definition(self.step)
        with self.fault(Case.REFUSED):
            first = self._must_end(delivery, refuses=True)
        _require(
            definition.refusal is not None and isinstance(first, definition.refusal),
            f"{self.step} declares the refusal {definition.refusal}, but reported {first!r}.",
        )
        self._must_end(replace(delivery, attempt=2), refuses=True)
        self._must_have(delivery, 0)

    @needs(Case.UNREACHABLE)
    def test_a_lost_request_is_no_error_and_is_sent_again(self) -> None:
        """The outcome is unknown, or the step asks for another try. Then it acts once."""
        delivery = self.delivery(Case.UNREACHABLE)
        with self.fault(Case.UNREACHABLE):
            self._must_be_open(delivery)
        self._must_have(delivery, 0)
        self._must_end(replace(delivery, attempt=2))
        self._must_have(delivery, 1)

    @needs(Case.NO_ANSWER)
    def test_a_lost_answer_is_unknown_and_is_found(self) -> None:
        """The outcome is unknown, and not a refusal or a try without effect. Then it is found."""
        delivery = self.delivery(Case.NO_ANSWER)
        with self.fault(Case.NO_ANSWER):
            outcome = self._must_be_open(delivery)
        _require(
            not isinstance(outcome, Retry),
            "Retry says that the step had no effect, which it cannot know.",
        )
        self._must_have(delivery, 1)
        self._must_end(replace(delivery, attempt=2))
        self._must_have(delivery, 1)

    @needs(undo=True)
    def test_an_undo_takes_back_what_was_done_once(self) -> None:
        """Also if the undo runs again."""
        delivery = self.delivery(Case.ORDINARY)
        self._must_end(delivery)
        for attempt in (1, 2):
            self._must_undo(replace(delivery, action_done=True, attempt=attempt))
            self._must_have(delivery, 0)

    @needs(Case.NO_ANSWER, undo=True)
    def test_an_undo_takes_back_what_no_answer_has_told(self) -> None:
        """The engine only knows that the action was not recorded."""
        delivery = self.delivery(Case.NO_ANSWER)
        with self.fault(Case.NO_ANSWER):
            self._run(self.step, delivery)
        self._must_undo(delivery)
        self._must_have(delivery, 0)

    @needs(undo=True)
    def test_an_undo_bars_an_action_that_comes_late(self) -> None:
        """A frozen worker may send its request after the undo."""
        delivery = self.delivery(Case.ORDINARY)
        late = self._prepare(self.step, delivery)
        self._must_undo(delivery)
        self._call(self.step, late)
        self._must_have(delivery, 0)

    # How the engine runs a step.

    def _definition(self, step: str) -> handlers.StepDefinition:
        found = handlers.definition(step)
        if found is None or not isinstance(found.handler, ExternalStep):
            raise LookupError(f"{step} is not registered as an ExternalStep.")
        return found

    def _handler(self, step: str) -> ExternalStep[Any, Any, Any]:
        return cast("ExternalStep[Any, Any, Any]", self._definition(step).handler)

    def _prepare(self, step: str, *batch: Delivery[Any]) -> list[Any]:
        with transaction.atomic(using=service_of_step(step).alias):
            requests = list(self._handler(step).prepare(batch))
        return _one_each(f"{step}.prepare", batch, requests)

    def _call(self, step: str, requests: Sequence[Any]) -> list[Any]:
        handler = self._handler(step)
        try:
            if isinstance(handler, AsyncExternalStep):
                answers = asyncio.run(handler.call(requests))
            else:
                answers = handler.call(requests)
        except Exception as error:
            raise AssertionError(
                f"{step}.call raised. It must return an answer for each request, because the "
                "others of the batch may have been acted on."
            ) from error
        return _one_each(f"{step}.call", requests, answers)

    def _run(self, step: str, *batch: Delivery[Any]) -> list[Outcome]:
        answers = self._call(step, self._prepare(step, *batch))
        with transaction.atomic(using=service_of_step(step).alias):
            outcomes = list(self._handler(step).record(batch, answers))
        return _one_each(f"{step}.record", batch, outcomes)

    def _end_of(self, delivery: Delivery[Any], outcome: Outcome, step: str = "") -> Event:
        """Run a step again until it reports an event."""
        step = step or self.step
        for attempt in range(delivery.attempt + 1, delivery.attempt + MOST_TRIES):
            if isinstance(outcome, Event):
                return outcome
            (outcome,) = self._run(step, replace(delivery, attempt=attempt))
        raise AssertionError(f"{step} has no event after {MOST_TRIES} tries: {outcome!r}.")

    def _must_end(self, delivery: Delivery[Any], *, refuses: bool = False) -> Event:
        (outcome,) = self._run(self.step, delivery)
        event = self._end_of(delivery, outcome)
        expected = "refuse" if refuses else "be done"
        _require(
            isinstance(event, Refusal) == refuses,
            f"{self.step} must {expected}, but it reported {event!r}.",
        )
        return event

    def _must_be_open(self, delivery: Delivery[Any]) -> Outcome:
        (outcome,) = self._run(self.step, delivery)
        _require(
            isinstance(outcome, Unknown | Retry),
            f"{self.step} cannot know the outcome, but reported {outcome!r}.",
        )
        return outcome

    def _must_undo(self, delivery: Delivery[Any]) -> None:
        (outcome,) = self._run(self.undo, delivery)
        event = self._end_of(delivery, outcome, self.undo)
        _require(
            not isinstance(event, Refusal), f"{self.undo} is an undo, but it refused: {event!r}."
        )

    def _must_have(self, delivery: Delivery[Any], expected: int) -> None:
        found = self.effects(delivery)
        _require(
            found == expected,
            f"The outside system must have acted {expected} times for saga {delivery.saga}, but "
            f"it has acted {found} times.",
        )


def _one_each(function: str, given: Sequence[Any], returned: Sequence[Any]) -> list[Any]:
    _require(
        len(given) == len(returned),
        f"{function} got {len(given)} items, but returned {len(returned)}.",
    )
    return list(returned)


def _at_once(calls: Sequence[Callable[[], object]]) -> None:
    """Make calls at the same moment, in threads. Raises the first error."""
    barrier = Barrier(len(calls))
    errors: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        try:
            barrier.wait(LIMIT)
            call()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=run, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    if errors:
        raise errors[0]
    _require(
        not any(thread.is_alive() for thread in threads),
        f"A call has not ended within {LIMIT:.0f} s.",
    )


def _require(condition: bool, text: str) -> None:
    """Raise `AssertionError` with a text unless a condition holds."""
    if not condition:
        raise AssertionError(text)
