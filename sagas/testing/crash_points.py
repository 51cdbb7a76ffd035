"""The crashes of a saga: every point of every step and undo at which a worker may be killed."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from sagas.definition import handlers
from sagas.definition.events import Event
from sagas.definition.plan import Plan, Saga
from sagas.failpoints import Action, Fault, Point
from sagas.testing.record import End

__all__ = ["Crash", "crashes"]

# The points of every step. The others are of requests, of the periodic tasks, and of webhooks.
OF_STEPS = (
    Point.LEASED,
    Point.SENT,
    Point.TAKEN,
    Point.NOT_BEGUN,
    Point.COMMITTED,
    Point.PASSED_ON,
)
OF_CALLS = (Point.NOT_CALLED, Point.NOT_RECORDED)


class Crash(NamedTuple):
    """One fault in one run of a saga, and the end that the saga must have all the same.

    `saga` is the name of its declaration. `refusing`: the step that refuses, so that the saga is
    undone. `enabling`: another fault, without which no process would reach the point. `cancelled`:
    the saga is cancelled as soon as the crash has happened, and its pivot decides the end; `end` is
    None then.
    """

    saga: str
    fault: Fault
    end: End | None
    refusing: str | None = None
    enabling: Fault | None = None
    cancelled: bool = False

    def __str__(self) -> str:
        point = self.fault.point.name.lower().replace("_", " ")
        cancelled = " cancelled" if self.cancelled else ""
        return f"{self.fault.step} {self.fault.action} {point}{cancelled}".replace(" ", "-")


def crashes(
    saga: Saga,
    *,
    actions: Sequence[Action] = (Action.KILL,),
    event: Event | None = None,
    cancelled: bool = False,
) -> list[Crash]:
    """Return every crash of a saga: on its way to the last step, and on its way back.

    On the way back, the last step that may refuse does so. `actions`: kill a process, or make it
    raise. `event`: the event that starts the saga, if steps have conditions. Without it, the saga
    has all its steps. `cancelled`: return instead the crashes of a saga that is cancelled at this
    moment. They are on the way to the pivot, and at its bar. Raises `LookupError` if a step has no
    handler in this process, and `ValueError` for `Action.FREEZE` and for a cancel without a pivot.
    """
    if Action.FREEZE in actions:
        raise ValueError("A frozen process needs a test that resumes it. Use KILL or RAISE.")

    plan = saga.plan_for(event) if event else saga.plan
    if cancelled:
        ways = _ways_to_the_pivot(plan)
        every = chain.from_iterable(_on_the_way(saga.name, way, "", None, actions) for way in ways)
        return [crash._replace(cancelled=True) for crash in every]

    found = [*_on_the_way(saga.name, _way_forward(plan), "", End.DONE, actions)]

    refusing = _last_refusing(plan)
    if refusing:
        back = _way_back(plan, refusing)
        found += _on_the_way(saga.name, back, refusing, End.CANCELLED, actions)
    return found


def _on_the_way(
    saga: str,
    way: Iterable[Sequence[str]],
    before: str,
    end: End | None,
    actions: Sequence[Action],
) -> Iterator[Crash]:
    """Yield the crashes of steps that follow each other. The steps of one part of the way run at
    the same time. `before` is the step that sends to the first ones; without one, the relay sends.
    """
    for previous, step in _with_senders(way, before):
        for point in _points(step):
            # A step sends its own rows, so the relay leases none unless that fails.
            by_relay = previous and point is Point.LEASED
            enabling = Fault(Point.COMMITTED, previous, Action.RAISE) if by_relay else None
            for action in actions:
                fault = Fault(point, step, action)
                yield Crash(saga, fault, end, before or None, enabling)


def _with_senders(way: Iterable[Sequence[str]], before: str) -> Iterator[tuple[str, str]]:
    """Yield each step with a step that sends to it."""
    for steps in way:
        for step in steps:
            yield before, step
        before = steps[-1]


def _points(step: str) -> Sequence[Point]:
    if handlers.definition(step) is None:
        raise LookupError(f"No handler is registered for {step}.")
    return (*OF_STEPS, *OF_CALLS) if handlers.is_external(step) else OF_STEPS


def _last_refusing(plan: Plan) -> str | None:
    """Return the last step that may refuse and declares a refusal."""
    refusable = [step.name for step in plan.actions if plan.refusable(step.name)]
    declared = {step: handlers.definition(step) for step in refusable}
    able = [step for step, definition in declared.items() if definition and definition.refusal]
    return able[-1] if able else None


def _way_forward(plan: Plan) -> Iterator[Sequence[str]]:
    for stage in plan.stages:
        yield [step.name for step in stage]


def _ways_to_the_pivot(plan: Plan) -> Iterator[list[Sequence[str]]]:
    """Yield the way of a saga to its pivot, and that of a cancel to the bar, if it has one."""
    if plan.pivot is None:
        raise ValueError(f"The saga {plan.saga!r} has no pivot, so it cannot be cancelled.")
    stages = list(_way_forward(plan))
    last = next(number for number, stage in enumerate(stages) if plan.pivot.name in stage)
    yield stages[: last + 1]
    if plan.bar:
        yield [[plan.bar]]


def _way_back(plan: Plan, refusing: str) -> Iterator[Sequence[str]]:
    step: str | None = plan.after_refusal(refusing)
    while step is not None:
        yield [step]
        step = plan.after(step)
