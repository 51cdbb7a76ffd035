"""Charts over time as geometry: stacked bars and lines, drawn by a template as SVG.

Lengths are in pixels of the drawing. The template chooses the colours.

unfold's chart component cannot replace this: it draws once, at page load, so the canvas is blank
after the page's first refresh, without scripts, and for screen readers.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, log10
from typing import NamedTuple

from sagas.admin.formatting import length

__all__ = [
    "LEFT",
    "Bar",
    "Chart",
    "Line",
    "Slot",
    "Tick",
    "line",
    "round_up",
    "slot_width",
    "sparkline",
    "starts_and_ends_chart",
    "ticks_of_times",
    "ticks_of_values",
    "y_of",
]

WIDTH, HEIGHT = 560, 180
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 24
TICKS = 3
SPARK_WIDTH, SPARK_HEIGHT, SPARK_BARS = 192, 32, 32

# The narrowest bucket of a sparkline.
NARROWEST = timedelta(milliseconds=100)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One part of a stacked bar. `kind` is its CSS class, `title` its tooltip."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line as SVG paths: a missing value ends one path, and a single value is a dot."""

    kind: str
    pieces: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A label beside an axis."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart. `empty` is True without any value; `summary` describes the chart in words."""

    summary: str
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    x_ticks: tuple[Tick, ...] = ()
    empty: bool = False
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT


def starts_and_ends_chart(
    plural: str, *, times: Sequence[datetime], started: Sequence[int], ended: Sequence[int]
) -> Chart:
    """Chart how many sagas of a kind started and ended in each bucket. `times`: when it begins."""
    top = round_up(max(*started, *ended))
    return Chart(
        summary=(
            f"{sum(started)} {plural} started and {sum(ended)} ended since"
            f" {times[0]:%Y-%m-%d %H:%M} UTC."
        ),
        lines=(line("started", started, top), line("ended", ended, top)),
        y_ticks=ticks_of_values(top, unit=""),
        x_ticks=ticks_of_times(times),
        empty=not sum(started) + sum(ended),
    )


def sparkline(moments: Sequence[datetime], *, until: datetime) -> Chart:
    """Chart how often something happened over time, from its first moment until `until`."""
    since = min(moments, default=until)
    width = max((until - since) / SPARK_BARS, NARROWEST)
    found = Counter(min(int((moment - since) / width), SPARK_BARS - 1) for moment in moments)
    most = max(found.values(), default=1)
    slot_width = SPARK_WIDTH / SPARK_BARS
    return Chart(
        summary=(
            f"{len(moments)} since {since:%Y-%m-%d %H:%M:%S} UTC,"
            f" at most {most} within {length(width)}."
        ),
        bars=tuple(
            Slot(number * slot_width, slot_width).bar(
                "failing", SPARK_HEIGHT * (1 - count / most), SPARK_HEIGHT, ""
            )
            for number, count in sorted(found.items())
        ),
        empty=not moments,
        width=SPARK_WIDTH,
        height=SPARK_HEIGHT,
    )


def slot_width(count: int) -> float:
    """Return the width of one bucket."""
    return (WIDTH - LEFT - RIGHT) / count


def y_of(value: float, top: float) -> float:
    """Return the y of a value on an axis that ends at `top`."""
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top, 1)


class Slot(NamedTuple):
    """The place of one bucket."""

    x: float
    width: float

    def bar(self, kind: str, y: float, below: float, title: str) -> Bar:
        """Return a bar in it, from `below` up to `y`."""
        x, width = round(self.x + 1, 1), round(self.width - 2, 1)
        return Bar(
            kind=kind, x=x, y=round(y, 1), width=width, height=round(below - y, 1), title=title
        )


def line(kind: str, values: Sequence[float | None], top: float) -> Line:
    """Return the values of all buckets as a line."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            x = round(LEFT + (number + 0.5) * slot_width(len(values)), 1)
            pieces[-1].append((x, y_of(value, top)))

    return Line(
        kind=kind,
        pieces=tuple(
            "M" + " L".join(f"{x} {y}" for x, y in piece) for piece in pieces if len(piece) > 1
        ),
        dots=tuple(piece[0] for piece in pieces if len(piece) == 1),
    )


def round_up(most: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1
    power = 10.0 ** ceil(log10(most) - 1)
    return next(round(digit * power, 6) for digit in (1, 2, 5, 10) if digit * power >= most)


def ticks_of_values(top: float, *, unit: str) -> tuple[Tick, ...]:
    """Label the axis of the values."""
    values = [top * number / (TICKS - 1) for number in range(TICKS)]
    return tuple(Tick(x=LEFT - 6, y=y_of(value, top), text=f"{value:g}{unit}") for value in values)


def ticks_of_times(times: Sequence[datetime]) -> tuple[Tick, ...]:
    """Label four times: with seconds on a short chart, and with dates on a long one."""
    count = len(times)
    span = times[-1] - times[0]
    return tuple(
        Tick(
            x=round(LEFT + number * slot_width(count), 1),
            y=HEIGHT - 6,
            text=times[number].strftime(_time_format(span)),
        )
        for number in range(0, count, count // 4)
    )


def _time_format(span: timedelta) -> str:
    if span.total_seconds() < 600:
        return "%H:%M:%S"
    if span.days < 2:
        return "%H:%M"
    return "%m-%d"
