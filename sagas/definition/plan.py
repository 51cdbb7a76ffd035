"""The saga and its plan: the steps to do, what undoes each, and where it ends.

A plan is a routing slip: it travels inside every message of its saga, so what started under a plan
ends under it, whatever is deployed meanwhile.
"""

from collections.abc import Iterator
from enum import Enum
from typing import ClassVar

import msgspec

__all__ = ["Direction", "Plan", "Saga", "Step", "service_name"]


def service_name(step: str) -> str:
    """Return the service that owns a step: the part of its name before the first dot."""
    return step.partition(".")[0]


class Direction(Enum):
    """Which way a message walks its plan."""

    FORWARD = "forward"
    BACK = "back"


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a saga: the action, the compensation that undoes it, and whether it is the pivot.

    `bar`: of a pivot outside the saga's home, the step beside it that bars it where the saga is
    called off in time.
    """

    name: str
    undo: str | None = None
    pivot: bool = False
    bar: str | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of one saga in order, and the step that ends it when it is undone.

    A step's name occurs once in a plan, so the name alone tells position and direction.
    """

    saga: str
    steps: tuple[Step, ...]
    abort: str

    @property
    def home(self) -> str:
        """The service in which the saga began, keeps its timeline and is rescued from."""
        return service_name(self.abort)

    @property
    def first(self) -> str:
        """The step a saga starts with."""
        return self.steps[0].name

    @property
    def last(self) -> str:
        """The step whose success ends the saga."""
        return self.steps[-1].name

    @property
    def pivot(self) -> Step | None:
        """The step after which the saga only goes forward."""
        return next((step for step in self.steps if step.pivot), None)

    @property
    def bar(self) -> str | None:
        """The step that is asked to bar the pivot, where that lies outside the home."""
        return self.pivot.bar if self.pivot else None

    def names(self) -> Iterator[str]:
        """Yield the name of every action, undo and bar, and the abort."""
        for step in self.steps:
            yield from filter(None, (step.name, step.undo, step.bar))
        yield self.abort

    def services(self) -> set[str]:
        """Return the services that take part."""
        return {service_name(name) for name in self.names()}

    def direction(self, step: str) -> Direction:
        """Tell whether a step belongs to the forward walk or to the way back."""
        return Direction.FORWARD if self._position(step) is not None else Direction.BACK

    def comes_before(self, first: str, second: str) -> bool:
        """Tell whether both are actions of this plan, in this order."""
        names = [step.name for step in self.steps]
        return first in names and second in names[names.index(first) :]

    def refusable(self, step: str) -> bool:
        """Tell whether a step may say no, or be given up: a forward step that is not after the
        pivot.
        """
        position = self._position(step)
        return position is not None and position <= self._pivot_position()

    def after(self, step: str) -> str | None:
        """Return the step that follows the success of `step`, or None at the end of either walk."""
        position = self._position(step)
        if position is not None:
            return self.steps[position + 1].name if position + 1 < len(self.steps) else None
        if step == self.abort:
            return None
        if step == self.bar:
            return self.after_cancel()
        return self._back_over(self._undo_position(step))

    def after_refusal(self, step: str) -> str:
        """Return where the way back begins when `step` refused: it did nothing, so at the step
        before it.
        """
        position = self._position(step)
        if position is None:
            raise ValueError(f"{step!r} is no action of {self.saga!r} and cannot refuse.")
        return self._back_over(position)

    def after_giving_up(self, step: str) -> str:
        """Return where the way back begins when the outcome of `step` is not known: at its own
        undo.
        """
        position = self._position(step)
        if position is None:
            raise ValueError(f"{step!r} is no action of {self.saga!r} and cannot be given up.")
        return self._back_over(position + 1)

    def after_cancel(self) -> str:
        """Return where the way back begins when the pivot is barred: over all undos before the
        pivot.
        """
        return self._back_over(self._pivot_position())

    def action_of(self, undo: str) -> str | None:
        """Return the action that `undo` undoes; for the abort and the bar, the pivot they bar;
        else None.
        """
        if undo in (self.abort, self.bar):
            return self.pivot.name if self.pivot else None
        return next((step.name for step in self.steps if step.undo == undo), None)

    def _position(self, action: str) -> int | None:
        return next((index for index, step in enumerate(self.steps) if step.name == action), None)

    def _undo_position(self, undo: str) -> int:
        for index, step in enumerate(self.steps):
            if step.undo == undo:
                return index
        raise ValueError(f"{undo!r} is no step of {self.saga!r}.")

    def _pivot_position(self) -> int:
        return next((index for index, step in enumerate(self.steps) if step.pivot), len(self.steps))

    def _back_over(self, position: int) -> str:
        """Return the nearest undo of the steps before `position`, else the abort."""
        return next(
            (step.undo for step in reversed(self.steps[:position]) if step.undo), self.abort
        )


class Saga:
    """The declaration of a saga: its steps in order, and the step that ends it once everything is
    undone.

    Declared once at import time, in `<app>/saga.py`; `manage.py check` refuses a wrong one.
    """

    declared: ClassVar[dict[str, "Saga"]] = {}

    def __init__(self, name: str, *steps: Step, abort: str) -> None:
        self.name = name
        self.plan = Plan(saga=name, steps=steps, abort=abort)
        Saga.declared[name] = self

    def __repr__(self) -> str:
        return f"<Saga {self.name}: {' → '.join(step.name for step in self.plan.steps)}>"
