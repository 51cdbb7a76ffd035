"""The diagram of a saga: the steps of its plan, and the status of each. A template draws it as SVG.

The upper row holds the actions, in the order of the plan. Below each action stands its undo, or the
step that bars the pivot; the step that ends an undone saga stands at the left of the lower row.
Lengths are in pixels of the drawing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice, pairwise

from sagas.definition.plan import Plan, Step, service_name
from sagas.models import Inbox

__all__ = ["Arrow", "Box", "Diagram", "Frame", "StepRow", "StepStatus", "build_diagram"]

WIDTH, HEIGHT = 190, 98
GAP, ROW_GAP, MARGIN = 30, 60, 4

# The space between a frame and the boxes in it.
AROUND = 3


class StepStatus(StrEnum):
    """The status of a step, in an operator's words."""

    AHEAD = "ahead"
    RUNNING = "running"
    WAITING = "waiting"
    HELD = "held"
    DONE = "done"
    REFUSED = "refused"
    SKIPPED = "skipped"
    BARRED = "barred"
    UNDONE = "undone"
    UNNEEDED = "unneeded"
    NOTHING = "nothing"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        """Return the status in words."""
        return LABELS.get(self, str(self))

    @property
    def symbol(self) -> str:
        """Return a symbol for readers who cannot tell the colours apart."""
        return SYMBOLS[self]


SYMBOLS = {
    StepStatus.AHEAD: "○",
    StepStatus.RUNNING: "▶",
    StepStatus.WAITING: "…",
    StepStatus.HELD: "⏸",
    StepStatus.DONE: "✓",
    StepStatus.REFUSED: "✗",
    StepStatus.SKIPPED: "»",
    StepStatus.BARRED: "⊘",
    StepStatus.UNDONE: "↩",
    StepStatus.UNNEEDED: "–",
    StepStatus.NOTHING: "–",
    StepStatus.UNKNOWN: "?",
}
LABELS = {StepStatus.NOTHING: "nothing to give back"}


# A refused row is refused or barred: see `_status`.
STATUSES: Mapping[str, StepStatus] = {
    Inbox.State.STARTED: StepStatus.RUNNING,
    Inbox.State.WAITING: StepStatus.WAITING,
    Inbox.State.HELD: StepStatus.HELD,
    Inbox.State.DONE: StepStatus.DONE,
}


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """The inbox row of one step."""

    step: str
    state: str
    attempts: int
    error: str
    send_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def took(self) -> timedelta:
        """Return the time from the first claim to the last change."""
        return self.updated_at - self.created_at


@dataclass(frozen=True, kw_only=True)
class Box:
    """One step as a box."""

    name: str
    status: StepStatus
    x: int
    y: int
    pivot: bool = False
    parallel: bool = False
    row: StepRow | None = None
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def centre_y(self) -> int:
        """Return the y of its centre."""
        return self.y + self.height // 2

    @property
    def centre_x(self) -> int:
        """Return the x of its centre."""
        return self.x + self.width // 2


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A frame around the branches of a parallel group."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """An arrow between two steps; `walked` if the saga took it."""

    x1: int
    y1: int
    x2: int
    y2: int
    walked: bool


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """The boxes, frames and arrows of a saga."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    frames: tuple[Frame, ...] = ()


def build_diagram(
    plan: Plan,
    rows: Iterable[StepRow],
    *,
    ended: bool,
    gave_nothing_back: Collection[str] = (),
    unreachable: Collection[str] = (),
) -> Diagram:
    """Lay out a saga by its own plan and the rows of all inboxes.

    In a saga that has ended, a step without a row is not needed any more. `gave_nothing_back` are
    the undo steps that found nothing to undo. Steps of `unreachable` services are unknown.
    """
    known = {row.step: row for row in rows}
    layout = _Layout(
        plan=plan,
        known=known,
        ended=ended,
        pivot_done=_is_done(plan.pivot, known),
        gave_nothing_back=gave_nothing_back,
        unreachable=unreachable,
    )
    columns = list(enumerate(plan.actions, start=1))
    actions = [layout.action_box(step, column) for column, step in columns]
    undos = [
        layout.lower_box(back, column)
        for column, step in columns
        if (back := step.undo or step.bar)
    ]
    abort = layout.lower_box(plan.abort, 0)
    stages = list(_by_stage(plan, actions))
    return Diagram(
        width=2 * MARGIN + (len(actions) + 1) * WIDTH + len(actions) * GAP,
        height=2 * MARGIN + 2 * HEIGHT + ROW_GAP,
        boxes=(*actions, *undos, abort),
        arrows=(*_forward(stages), *_turning(actions, undos), *_back([abort, *undos])),
        frames=tuple(_frame(stage) for stage in stages if len(stage) > 1),
    )


@dataclass(frozen=True, kw_only=True)
class _Layout:
    plan: Plan
    known: Mapping[str, StepRow]
    ended: bool
    pivot_done: bool
    gave_nothing_back: Collection[str]
    unreachable: Collection[str]

    def action_box(self, step: Step, column: int) -> Box:
        undo = self.known.get(step.undo or "")
        status = self._status(step.name)
        is_undone = undo and undo.state == Inbox.State.DONE
        if status is StepStatus.DONE and is_undone and step.undo not in self.gave_nothing_back:
            status = StepStatus.UNDONE
        if status is StepStatus.REFUSED and self.plan.skippable(step.name):
            status = StepStatus.SKIPPED
        return Box(
            name=step.name,
            status=status,
            x=_x(column),
            y=MARGIN,
            pivot=step.pivot,
            parallel=bool(self.plan.branches(step.name)),
            row=self.known.get(step.name),
        )

    def lower_box(self, name: str, column: int) -> Box:
        y = MARGIN + HEIGHT + ROW_GAP
        status = self._status(name)
        if status is StepStatus.AHEAD and self.pivot_done:
            status = StepStatus.UNNEEDED
        return Box(name=name, status=status, x=_x(column), y=y, row=self.known.get(name))

    def _status(self, name: str) -> StepStatus:
        row = self.known.get(name)
        if service_name(name) in self.unreachable:
            return StepStatus.UNKNOWN
        if row is None:
            return StepStatus.UNNEEDED if self.ended else StepStatus.AHEAD
        if row.state == Inbox.State.REFUSED:
            return StepStatus.REFUSED if row.attempts else StepStatus.BARRED
        if row.state == Inbox.State.DONE and name in self.gave_nothing_back:
            return StepStatus.NOTHING
        return STATUSES[row.state]


def _is_done(pivot: Step | None, known: Mapping[str, StepRow]) -> bool:
    """Tell whether the saga can only go forward from here."""
    return pivot is not None and pivot.name in known and known[pivot.name].state == Inbox.State.DONE


def _x(column: int) -> int:
    return MARGIN + column * (WIDTH + GAP)


def _by_stage(plan: Plan, actions: list[Box]) -> Iterator[list[Box]]:
    """Yield the boxes of the steps that run at the same time."""
    rest = iter(actions)
    for stage in plan.stages:
        yield list(islice(rest, len(stage)))


def _frame(stage: list[Box]) -> Frame:
    first, last = stage[0], stage[-1]
    return Frame(
        x=first.x - AROUND,
        y=first.y - AROUND,
        width=last.x + WIDTH - first.x + 2 * AROUND,
        height=HEIGHT + 2 * AROUND,
    )


def _forward(stages: list[list[Box]]) -> Iterator[Arrow]:
    """Yield the arrows between the stages. The branches of one stage follow in no order."""
    passed = {StepStatus.DONE, StepStatus.UNDONE, StepStatus.SKIPPED}
    for before, after in pairwise(stages):
        is_over = all(box.status in passed for box in before)
        has_begun = any(box.row and box.status is not StepStatus.BARRED for box in after)
        yield Arrow(
            x1=before[-1].x + WIDTH,
            y1=before[-1].centre_y,
            x2=after[0].x,
            y2=after[0].centre_y,
            walked=is_over and has_begun,
        )


def _turning(actions: list[Box], undos: list[Box]) -> Iterator[Arrow]:
    below = {undo.x: undo for undo in undos}
    for action in actions:
        undo = below.get(action.x)
        if undo is not None:
            yield Arrow(
                x1=action.centre_x,
                y1=action.y + HEIGHT,
                x2=undo.centre_x,
                y2=undo.y,
                walked=undo.row is not None,
            )


def _back(lower: list[Box]) -> Iterator[Arrow]:
    for after, before in pairwise(lower):
        was_run = before.status in {StepStatus.DONE, StepStatus.NOTHING}
        walked = was_run and after.row is not None
        yield Arrow(
            x1=before.x, y1=before.centre_y, x2=after.x + WIDTH, y2=after.centre_y, walked=walked
        )
