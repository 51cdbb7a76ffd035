"""The saga and its plan: the steps, the undo of each step, and the step that ends the saga.

A plan is a routing slip inside every message of its saga. So a saga ends under the plan it started
with, even if another plan is deployed in the meantime.
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
    """The direction in which a message follows its plan."""

    FORWARD = "forward"
    BACK = "back"


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a saga: the action `name`, and the compensation `undo`.

    `pivot`: from this step on, the saga only goes forward. `bar` is for a pivot outside the saga's
    home: a step in the same service, which bars the pivot on a cancel.
    """

    name: str
    undo: str | None = None
    pivot: bool = False
    bar: str | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of a saga in order, and the step `abort` that ends a compensated saga.

    A name occurs once in a plan, so the name alone gives position and direction.
    """

    saga: str
    steps: tuple[Step, ...]
    abort: str

    @property
    def home(self) -> str:
        """The service that starts the saga, keeps its timeline, and re-drives it."""
        return service_name(self.abort)

    @property
    def first(self) -> str:
        """The step that a saga starts with."""
        return self.steps[0].name

    @property
    def last(self) -> str:
        """The step that ends the saga when it is done."""
        return self.steps[-1].name

    @property
    def pivot(self) -> Step | None:
        """The step from which on the saga only goes forward, or None."""
        return next((step for step in self.steps if step.pivot), None)

    @property
    def bar(self) -> str | None:
        """The step that bars a pivot outside the home, or None."""
        return self.pivot.bar if self.pivot else None

    def names(self) -> Iterator[str]:
        """Yield the name of every action, undo and bar, and the abort."""
        for step in self.steps:
            yield from filter(None, (step.name, step.undo, step.bar))
        yield self.abort

    def services(self) -> set[str]:
        """Return the names of the services that take part."""
        return {service_name(name) for name in self.names()}

    def direction(self, step: str) -> Direction:
        """Return the direction in which a step runs."""
        return Direction.FORWARD if self._position(step) is not None else Direction.BACK

    def comes_before(self, first: str, second: str) -> bool:
        """Return whether both are actions of this plan, in this order."""
        names = [step.name for step in self.steps]
        return first in names and second in names[names.index(first) :]

    def refusable(self, step: str) -> bool:
        """Return whether a step may refuse or be given up: an action up to the pivot."""
        position = self._position(step)
        return position is not None and position <= self._pivot_position()

    def after(self, step: str) -> str | None:
        """Return the step that follows a done `step`, or None if the saga ends with it."""
        position = self._position(step)
        if position is not None:
            return self.steps[position + 1].name if position + 1 < len(self.steps) else None
        if step == self.abort:
            return None
        if step == self.bar:
            return self.after_cancel()
        return self._last_undo_before(self._undo_position(step))

    def after_refusal(self, step: str) -> str:
        """Return the first compensation after `step` refused.

        A refused step did nothing, so this is the undo of the step before it.
        """
        position = self._position(step)
        if position is None:
            raise ValueError(f"{step!r} is not an action of saga {self.saga!r}: it cannot refuse.")
        return self._last_undo_before(position)

    def after_giving_up(self, step: str) -> str:
        """Return the first compensation after `step` was given up.

        It may have had an effect, so this is its own undo.
        """
        position = self._position(step)
        if position is None:
            raise ValueError(
                f"{step!r} is not an action of saga {self.saga!r}: it cannot be given up."
            )
        return self._last_undo_before(position + 1)

    def after_cancel(self) -> str:
        """Return the first compensation after the pivot was barred: the last undo before it."""
        return self._last_undo_before(self._pivot_position())

    def action_of(self, undo: str) -> str | None:
        """Return the action that `undo` compensates, or None.

        For the abort and the bar, return the pivot, because they bar it.
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
        raise ValueError(f"{undo!r} is not a step of saga {self.saga!r}.")

    def _pivot_position(self) -> int:
        return next((index for index, step in enumerate(self.steps) if step.pivot), len(self.steps))

    def _last_undo_before(self, position: int) -> str:
        """Return the last undo of the steps before `position`, or the abort if there is none."""
        return next(
            (step.undo for step in reversed(self.steps[:position]) if step.undo), self.abort
        )


class Saga:
    """The declaration of a saga: its steps in order, and the step that ends a compensated saga.

    Declare it once at import time, in `<app>/saga.py`. `manage.py check` rejects a wrong one.
    """

    declared: ClassVar[dict[str, "Saga"]] = {}

    def __init__(self, name: str, *steps: Step, abort: str) -> None:
        self.name = name
        self.plan = Plan(saga=name, steps=steps, abort=abort)
        Saga.declared[name] = self

    def __repr__(self) -> str:
        return f"<Saga {self.name}: {' → '.join(step.name for step in self.plan.steps)}>"
