"""The saga and its plan: the steps, the undo of each step, and the step that ends the saga.

A plan is a routing slip inside every message of its saga. So a saga ends under the plan it started
with, even if another plan is deployed in the meantime.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from enum import Enum
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import ClassVar, TypeAlias

import msgspec
from msgspec.structs import replace

from sagas.definition.conditions import Condition, absent_steps, combinations
from sagas.definition.events import Event
from sagas.definition.names import Registrations
from sagas.definition.waits import closing_step

__all__ = ["Direction", "Parallel", "Plan", "Saga", "Stage", "Step", "Wait", "service_name"]


def service_name(step: str) -> str:
    """Return the service that owns a step: the part of its name before the first dot."""
    return step.partition(".")[0]


class Direction(Enum):
    """The direction in which a message follows its plan."""

    FORWARD = "forward"
    BACK = "back"


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a saga: the action `name`, and the compensation `undo`.

    `pivot`: from this step on, the saga only goes forward. `bar` is for a pivot outside the saga's
    home: a step in the same service, which bars the pivot on a cancel. `when` is a condition: a
    function of the starting event, which says whether a saga has this step. It is decided at the
    start, so the steps of a plan that is stored or travels have none. If a pivot has a condition, a
    later step without one is a pivot, too: it is the pivot of the sagas that lack the first.
    `optional` is for a step after the pivot: when its tries end, it is skipped, and the saga goes
    on.
    """

    name: str
    undo: str | None = None
    pivot: bool = False
    bar: str | None = None
    when: Condition | None = None
    optional: bool = False


class Wait(msgspec.Struct, frozen=True):
    """A step that waits for a signal: `Wait("fraud.review")`. `sagas.wait` registers it.

    In the plan it is an ordinary step. Before the pivot, its undo closes it: a saga that is
    compensated takes no signal. If the signal itself is the pivot, declare
    `Step("fraud.review", pivot=True)`. `when` is a condition, as of a `Step`.
    """

    name: str
    when: Condition | None = None

    def step(self, *, is_undone: bool) -> Step:
        """Return the step of the plan. `is_undone`: the wait is before the pivot."""
        undo = closing_step(self.name) if is_undone else None
        return Step(self.name, undo=undo, when=self.when)


class Parallel:
    """Steps that run at the same time: `Parallel(Step("bank.charge", undo=…), Step(…))`.

    The step behind the group runs once all its branches are done. If one of them refuses, all are
    undone. Each branch is one step, in a service of its own.
    """

    def __init__(self, *branches: "Step | Wait") -> None:
        self.branches: tuple[Step | Wait | Parallel, ...] = branches


# A step, or the branches of a group. In JSON a group is an array of steps, which a release without
# groups refuses to read. It would otherwise run the branches one after another.
Stage: TypeAlias = Step | tuple[Step, ...]


class Plan(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The steps of a saga in order, and the step `abort` that ends a compensated saga.

    A name occurs once in a plan, so the name alone gives position and direction. `steps` has the
    branches of a parallel group as a tuple. `actions` has all steps in one row. Such views of the
    steps are computed once, because a batch of messages shares its plan. `dict` gives them a place.
    """

    saga: str
    steps: tuple[Stage, ...]
    abort: str

    @cached_property
    def stages(self) -> tuple[tuple[Step, ...], ...]:
        """The steps that run at the same time, in order. Most stages have one step."""
        return tuple(each if isinstance(each, tuple) else (each,) for each in self.steps)

    @cached_property
    def actions(self) -> tuple[Step, ...]:
        """All steps, in the order in which they would run one after another."""
        return tuple(step for stage in self.stages for step in stage)

    @cached_property
    def home(self) -> str:
        """The service that starts the saga, keeps its timeline, and re-drives it."""
        return service_name(self.abort)

    @property
    def first(self) -> str:
        """The step that a saga starts with."""
        return self.actions[0].name

    @property
    def last(self) -> str:
        """The step that ends the saga when it is done."""
        return self.actions[-1].name

    @cached_property
    def pivot(self) -> Step | None:
        """The step from which on the saga only goes forward, or None."""
        return next((step for step in self.actions if step.pivot), None)

    @property
    def bar(self) -> str | None:
        """The step that bars a pivot outside the home, or None."""
        return self.pivot.bar if self.pivot else None

    def without(self, steps: Collection[str]) -> "Plan":
        """Return the plan without some of its actions. A group of one branch becomes a step."""
        stages = (tuple(each for each in stage if each.name not in steps) for stage in self.stages)
        return replace(self, steps=tuple(_compact(stage) for stage in stages if stage))

    def with_pivot(self, name: str, *, unbarred: Collection[str] = ()) -> "Plan":
        """Return the plan with this action as its only pivot. `unbarred`: actions without a bar."""

        def changed(step: Step) -> Step:
            bar = None if step.name in unbarred else step.bar
            return replace(step, pivot=step.name == name, bar=bar)

        stages = (tuple(map(changed, stage)) for stage in self.stages)
        return replace(self, steps=tuple(map(_compact, stages)))

    def names(self) -> Iterator[str]:
        """Yield the name of every action, undo and bar, and the abort."""
        for step in self.actions:
            yield from filter(None, (step.name, step.undo, step.bar))
        yield self.abort

    def services(self) -> set[str]:
        """Return the names of the services that take part."""
        return {service_name(name) for name in self.names()}

    def direction(self, step: str) -> Direction:
        """Return the direction in which a step runs."""
        return Direction.FORWARD if self._position(step) is not None else Direction.BACK

    def comes_before(self, first: str, second: str) -> bool:
        """Return whether both are actions of this plan, in this order.

        The branches of one group come in no order.
        """
        names = [step.name for step in self.actions]
        in_order = first in names and second in names[names.index(first) :]
        return in_order and second not in self.siblings(first)

    def branches(self, step: str) -> tuple[str, ...]:
        """Return the branches of the group that an action belongs to; none outside a group."""
        return self._groups.get(step, ())

    def siblings(self, branch: str) -> tuple[str, ...]:
        """Return the other branches of the group that an action belongs to."""
        return tuple(name for name in self.branches(branch) if name != branch)

    def recipients(self, target: str) -> tuple[str, ...]:
        """Return the steps that get the message to `target`: all branches, if it is one."""
        return self.branches(target) or (target,)

    def joined_by(self, step: str) -> tuple[str, ...]:
        """Return the branches of the group that ends before `step`; none if no group does."""
        return self._joined.get(step, ())

    def refusable(self, step: str) -> bool:
        """Return whether a step may refuse or be given up: an action up to the pivot."""
        position = self._position(step)
        return position is not None and position <= self._pivot_position()

    def skippable(self, step: str) -> bool:
        """Return whether a step is skipped when its tries end: an optional one after the pivot."""
        position = self._position(step)
        is_after_pivot = position is not None and position > self._pivot_position()
        return is_after_pivot and self.actions[position or 0].optional

    def waits(self) -> Iterator[str]:
        """Yield the waits before the pivot, which a cancel closes."""
        for step in self.actions:
            if step.undo == closing_step(step.name):
                yield step.name

    def after(self, step: str) -> str | None:
        """Return the step that follows a done `step`, or None if the saga ends with it.

        A group is named by its first branch.
        """
        position = self._position(step)
        if position is not None:
            following = self.actions[self._end_of_stage(position) :]
            return following[0].name if following else None
        if step == self.abort:
            return None
        if step == self.bar:
            return self.after_cancel()
        return self._last_undo_before(self._undo_position(step))

    def after_refusal(self, step: str) -> str:
        """Return the first compensation after `step` refused.

        A refused step did nothing, so this is the undo of the step before it. For a branch, it is
        the last undo of its group. So all branches that refuse begin the same compensation, and
        each branch is undone or barred before a step that comes before the group is undone.
        """
        position = self._position(step)
        if position is None:
            raise ValueError(f"{step!r} is not an action of saga {self.saga!r}: it cannot refuse.")
        is_branch = bool(self.branches(step))
        return self._last_undo_before(self._end_of_stage(position) if is_branch else position)

    def after_giving_up(self, step: str) -> str:
        """Return the first compensation after `step` was given up.

        It may have had an effect, so this is its own undo.
        """
        position = self._position(step)
        if position is None:
            raise ValueError(
                f"{step!r} is not an action of saga {self.saga!r}: it cannot be given up."
            )
        return self._last_undo_before(self._end_of_stage(position))

    def after_cancel(self) -> str:
        """Return the first compensation after the pivot was barred: the last undo before it."""
        return self._last_undo_before(self._pivot_position())

    def action_of(self, undo: str) -> str | None:
        """Return the action that `undo` compensates, or None.

        For the abort and the bar, return the pivot, because they bar it.
        """
        if undo in (self.abort, self.bar):
            return self.pivot.name if self.pivot else None
        return next((step.name for step in self.actions if step.undo == undo), None)

    @cached_property
    def _groups(self) -> dict[str, tuple[str, ...]]:
        """The branches of each parallel group, by branch."""
        groups = (tuple(each.name for each in stage) for stage in self.stages if len(stage) > 1)
        return {name: group for group in groups for name in group}

    @cached_property
    def _joined(self) -> dict[str, tuple[str, ...]]:
        """The branches of the group that ends before a step, by step."""
        return {
            each.name: self.branches(before[0].name)
            for before, stage in pairwise(self.stages)
            if len(before) > 1
            for each in stage
        }

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {step.name: index for index, step in enumerate(self.actions)}

    def _position(self, action: str) -> int | None:
        return self._positions.get(action)

    def _end_of_stage(self, position: int) -> int:
        """Return the position behind the stage that has the action at `position`."""
        end = 0
        for stage in self.stages:
            end += len(stage)
            if end > position:
                break
        return end

    def _undo_position(self, undo: str) -> int:
        for index, step in enumerate(self.actions):
            if step.undo == undo:
                return index
        raise ValueError(f"{undo!r} is not a step of saga {self.saga!r}.")

    def _pivot_position(self) -> int:
        actions = self.actions
        return next((index for index, step in enumerate(actions) if step.pivot), len(actions))

    def _last_undo_before(self, position: int) -> str:
        """Return the last undo of the steps before `position`, or the abort if there is none."""
        return next(
            (step.undo for step in reversed(self.actions[:position]) if step.undo), self.abort
        )


class Saga:
    """The declaration of a saga: its steps in order, and the step that ends a compensated saga.

    `started_by` is the event that starts it. Its fields are the context of every step, so
    `manage.py check` compares them with the fields that the steps accept. `plan` has all steps. A
    saga whose steps have conditions starts with `plan_for` its event.

    `deadline` is counted from the start. A saga that has not passed its pivot by then is undone,
    with the failure code "deadline". A saga past its pivot needs attention. It is no part of the
    plan: a saga has the deadline that was declared when it started.

    Declare it once at import time, in `<app>/saga.py`. `manage.py check` rejects a wrong one, and
    so does every process at its start. Raises `NameTaken` if another saga has the name.
    """

    declared: ClassVar[dict[str, "Saga"]] = {}
    _registrations: ClassVar = Registrations("The saga", __file__)

    def __init__(
        self,
        name: str,
        *steps: Step | Wait | Parallel,
        abort: str,
        started_by: type[Event] | None = None,
        deadline: timedelta | None = None,
    ) -> None:
        self._registrations.claim(name, self)
        self.name = name
        self.started_by = started_by
        self.deadline = deadline
        self.groups = [each for each in steps if isinstance(each, Parallel)]
        declared = tuple(_stages(steps))
        given = {step.name: step.when for stage in declared for step in stage}
        self.conditions = {step: when for step, when in given.items() if when is not None}
        stages = (tuple(replace(step, when=None) for step in stage) for stage in declared)
        plan = Plan(
            saga=name, steps=tuple(_compact(stage) for stage in stages if stage), abort=abort
        )
        self.pivots = tuple(step.name for step in plan.actions if step.pivot)
        self.plan = plan.with_pivot(self.pivots[0]) if len(self.pivots) > 1 else plan
        Saga.declared[name] = self

    def plan_for(self, event: Event) -> Plan:
        """Return the plan of a saga that starts with an event: the steps whose condition holds.

        Raises TypeError if the saga declares another event as its start, if a condition raises or
        returns no bool, and if no step is left.
        """
        if self.started_by and not isinstance(event, self.started_by):
            raise TypeError(
                f"Saga {self.name!r} is started by {self.started_by.__name__}, not by "
                f"{type(event).__name__}. Pass that event, or change started_by of the saga."
            )
        if not self.conditions:
            return self.plan

        plan = self.plan_without(absent_steps(self.name, self.conditions, event))
        if not plan.steps:
            raise TypeError(f"No condition of saga {self.name!r} holds for {event!r}.")
        return plan

    def plan_without(self, absent: Collection[str]) -> Plan:
        """Return the plan without some steps. The first pivot that is left is its only pivot.

        The bars of the other pivots never run, so they are left out.
        """
        return _plan_without(self.plan, self.pivots, frozenset(absent))

    def absences(self) -> Iterator[frozenset[str]]:
        """Yield the steps that a saga may lack, for each combination of conditions; first none."""
        return combinations(self.conditions)

    def __repr__(self) -> str:
        stages = (" | ".join(map(self._shown, stage)) for stage in self.plan.stages)
        return f"<Saga {self.name}: {' → '.join(stages)}>"

    def _shown(self, step: Step) -> str:
        return f"{step.name}?" if step.name in self.conditions else step.name


@lru_cache(maxsize=256)
def _plan_without(plan: Plan, pivots: tuple[str, ...], absent: frozenset[str]) -> Plan:
    """Return the plan without some steps. The sagas that lack the same steps share it."""
    shorter = plan.without(absent)
    left = [step.name for step in shorter.actions if step.name in pivots]
    return shorter.with_pivot(left[0], unbarred=left[1:]) if left else shorter


def _compact(stage: tuple[Step, ...]) -> Stage:
    """Return the stage of a plan: a group with a single branch is an ordinary step."""
    return stage[0] if len(stage) == 1 else stage


def _stages(declared: Sequence[Step | Wait | Parallel]) -> Iterator[tuple[Step, ...]]:
    """Yield the steps of each stage. A wait before the pivot has an undo."""
    is_undone = True
    for each in declared:
        branches = tuple(_branches(each)) if isinstance(each, Parallel) else (each,)
        yield tuple(
            branch.step(is_undone=is_undone) if isinstance(branch, Wait) else branch
            for branch in branches
        )
        is_undone = is_undone and not any(
            branch.pivot for branch in branches if isinstance(branch, Step)
        )


def _branches(group: Parallel) -> Iterator[Step | Wait]:
    """Yield the branches of a group, also of a group inside it, which a check refuses."""
    for each in group.branches:
        if isinstance(each, Parallel):
            yield from _branches(each)
        else:
            yield each
