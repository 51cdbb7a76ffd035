"""A saga as a picture: its plan, what became of each step, and where it stands. Geometry here, ink
in the template.

Actions stand in a row, in the order they are done; below each stands what undoes it, or bars the
pivot, and at the left end of that lower row the step that ends an undone saga. Lengths are in
pixels of the drawing, which scales as a whole.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from sagas.definition.plan import Plan, Step
from sagas.models import Inbox

__all__ = ["Arrow", "Box", "Look", "Picture", "StepRow", "picture_of"]

WIDTH, HEIGHT = 190, 84
GAP, ROW_GAP, MARGIN = 30, 60, 4


class Look(StrEnum):
    """How a step stands, as an operator would say it."""

    AHEAD = "ahead"
    RUNNING = "running"
    WAITING = "waiting"
    HELD = "held"
    DONE = "done"
    REFUSED = "refused"
    BARRED = "barred"
    UNDONE = "undone"
    UNNEEDED = "unneeded"

    @property
    def symbol(self) -> str:
        """A sign for those who cannot tell its colour."""
        return SYMBOLS[self]


SYMBOLS = {
    Look.AHEAD: "○",
    Look.RUNNING: "▶",
    Look.WAITING: "…",
    Look.HELD: "⏸",
    Look.DONE: "✓",
    Look.REFUSED: "✗",
    Look.BARRED: "⊘",
    Look.UNDONE: "↩",
    Look.UNNEEDED: "–",
}


# What is refused is either: its attempts tell.
LOOKS: Mapping[str, Look] = {
    Inbox.State.STARTED: Look.RUNNING,
    Inbox.State.WAITING: Look.WAITING,
    Inbox.State.HELD: Look.HELD,
    Inbox.State.DONE: Look.DONE,
}


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """What a service's inbox says of one step of the saga."""

    step: str
    state: str
    attempts: int
    error: str
    send_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def took(self) -> timedelta:
        """How long it took from the first claim to the last change."""
        return self.updated_at - self.created_at


@dataclass(frozen=True, kw_only=True)
class Box:
    """One step, at its place."""

    name: str
    look: Look
    x: int
    y: int
    pivot: bool = False
    row: StepRow | None = None
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def middle(self) -> int:
        """The height of its middle."""
        return self.y + self.height // 2

    @property
    def centre(self) -> int:
        """How far right its centre is."""
        return self.x + self.width // 2


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """A way from one step to another; `walked` if the saga went it."""

    x1: int
    y1: int
    x2: int
    y2: int
    walked: bool


@dataclass(frozen=True, kw_only=True)
class Picture:
    """All there is to draw."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def picture_of(plan: Plan, rows: Iterable[StepRow], *, ended: bool) -> Picture:
    """Draw a saga under its own plan, from the rows of all inboxes; `ended`: what has not
    happened never will.
    """
    known = {row.step: row for row in rows}
    sketch = _Sketch(known=known, ended=ended, forward=_is_past(plan.pivot, known))
    columns = list(enumerate(plan.steps, start=1))
    actions = [sketch.action(step, column) for column, step in columns]
    undos = [
        sketch.below(back, column) for column, step in columns if (back := step.undo or step.bar)
    ]
    abort = sketch.below(plan.abort, 0)
    return Picture(
        width=2 * MARGIN + (len(actions) + 1) * WIDTH + len(actions) * GAP,
        height=2 * MARGIN + 2 * HEIGHT + ROW_GAP,
        boxes=(*actions, *undos, abort),
        arrows=(*_forward(actions), *_turning(actions, undos), *_back([abort, *undos])),
    )


@dataclass(frozen=True, kw_only=True)
class _Sketch:
    known: Mapping[str, StepRow]
    ended: bool
    forward: bool

    def action(self, step: Step, column: int) -> Box:
        undo = self.known.get(step.undo or "")
        look = self._look(step.name)
        if look is Look.DONE and undo and undo.state == Inbox.State.DONE:
            look = Look.UNDONE
        return Box(
            name=step.name,
            look=look,
            x=_x(column),
            y=MARGIN,
            pivot=step.pivot,
            row=self.known.get(step.name),
        )

    def below(self, name: str, column: int) -> Box:
        y = MARGIN + HEIGHT + ROW_GAP
        look = self._look(name)
        if look is Look.AHEAD and self.forward:
            look = Look.UNNEEDED
        return Box(name=name, look=look, x=_x(column), y=y, row=self.known.get(name))

    def _look(self, name: str) -> Look:
        row = self.known.get(name)
        if row is None:
            return Look.UNNEEDED if self.ended else Look.AHEAD
        if row.state == Inbox.State.REFUSED:
            return Look.REFUSED if row.attempts else Look.BARRED
        return LOOKS[row.state]


def _is_past(pivot: Step | None, known: Mapping[str, StepRow]) -> bool:
    """Tell whether the saga only goes forward from here."""
    return pivot is not None and pivot.name in known and known[pivot.name].state == Inbox.State.DONE


def _x(column: int) -> int:
    return MARGIN + column * (WIDTH + GAP)


def _forward(actions: list[Box]) -> Iterator[Arrow]:
    for before, after in pairwise(actions):
        walked = (
            before.look in {Look.DONE, Look.UNDONE}
            and after.row is not None
            and after.look is not Look.BARRED
        )
        yield Arrow(
            x1=before.x + WIDTH, y1=before.middle, x2=after.x, y2=after.middle, walked=walked
        )


def _turning(actions: list[Box], undos: list[Box]) -> Iterator[Arrow]:
    below = {undo.x: undo for undo in undos}
    for action in actions:
        undo = below.get(action.x)
        if undo is not None:
            yield Arrow(
                x1=action.centre,
                y1=action.y + HEIGHT,
                x2=undo.centre,
                y2=undo.y,
                walked=undo.row is not None,
            )


def _back(lower: list[Box]) -> Iterator[Arrow]:
    for after, before in pairwise(lower):
        walked = before.look is Look.DONE and after.row is not None
        yield Arrow(
            x1=before.x, y1=before.middle, x2=after.x + WIDTH, y2=after.middle, walked=walked
        )
