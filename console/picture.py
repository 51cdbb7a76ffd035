"""A saga as a picture: its plan, what became of each step, and where it stands. Geometry here, ink in the template.

Actions stand in a row, in the order they are done; below each stands what undoes it, and at the left end of that lower
row the step that ends an undone saga. Lengths are in pixels of the drawing, which scales as a whole.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sagas.models import Inbox
from sagas.plan import Plan

__all__ = ["Arrow", "Box", "Look", "Picture", "StepRow", "picture_of"]

WIDTH, HEIGHT = 190, 84
GAP, ROW_GAP, MARGIN = 46, 70, 12


class Look(StrEnum):
    """How a step stands, as an operator would say it."""

    AHEAD = "ahead"
    RUNNING = "running"
    WAITING = "waiting"
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
    Look.WAITING: "⏳",
    Look.DONE: "✓",
    Look.REFUSED: "✗",
    Look.BARRED: "⊘",
    Look.UNDONE: "↩",
    Look.UNNEEDED: "–",
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
    """Draw a saga under its own plan, from the rows of all inboxes; `ended`: what has not happened never will."""
    known = {row.step: row for row in rows}
    actions = [
        _box(step.name, known, column=column + 1, undo=step.undo, ended=ended, pivot=step.pivot)
        for column, step in enumerate(plan.steps)
    ]
    undos = [
        _box(step.undo, known, column=column + 1, line=1, ended=ended)
        for column, step in enumerate(plan.steps)
        if step.undo
    ]
    abort = _box(plan.abort, known, column=0, line=1, ended=ended)
    return Picture(
        width=2 * MARGIN + (len(actions) + 1) * WIDTH + len(actions) * GAP,
        height=2 * MARGIN + 2 * HEIGHT + ROW_GAP,
        boxes=(*actions, *undos, abort),
        arrows=(*_forward(actions), *_turning(actions, undos), *_back([abort, *undos])),
    )


def _box(
    name: str,
    known: Mapping[str, StepRow],
    *,
    column: int,
    ended: bool,
    line: int = 0,
    undo: str | None = None,
    pivot: bool = False,
) -> Box:
    row = known.get(name)
    undone = undo is not None and undo in known and known[undo].state == Inbox.State.DONE
    return Box(
        name=name,
        look=_look(row, undone=undone, ended=ended),
        x=MARGIN + column * (WIDTH + GAP),
        y=MARGIN + line * (HEIGHT + ROW_GAP),
        pivot=pivot,
        row=row,
    )


def _look(row: StepRow | None, *, undone: bool, ended: bool) -> Look:
    if row is None:
        return Look.UNNEEDED if ended else Look.AHEAD
    match row.state:
        case Inbox.State.DONE:
            return Look.UNDONE if undone else Look.DONE
        case Inbox.State.REFUSED:
            return Look.REFUSED if row.attempts else Look.BARRED
        case Inbox.State.STARTED:
            return Look.RUNNING
    return Look.WAITING


def _forward(actions: list[Box]) -> Iterator[Arrow]:
    for before, after in zip(actions, actions[1:], strict=False):
        walked = before.look in {Look.DONE, Look.UNDONE} and after.row is not None and after.look is not Look.BARRED
        yield Arrow(
            x1=before.x + WIDTH, y1=before.middle, x2=after.x, y2=after.middle, walked=walked
        )


def _turning(actions: list[Box], undos: list[Box]) -> Iterator[Arrow]:
    below = {undo.x: undo for undo in undos}
    for action in actions:
        undo = below.get(action.x)
        if undo is not None:
            yield Arrow(
                x1=action.centre, y1=action.y + HEIGHT, x2=undo.centre, y2=undo.y, walked=undo.row is not None
            )


def _back(lower: list[Box]) -> Iterator[Arrow]:
    for after, before in zip(lower, lower[1:], strict=False):
        walked = before.look is Look.DONE and after.row is not None
        yield Arrow(x1=before.x, y1=before.middle, x2=after.x + WIDTH, y2=after.middle, walked=walked)
