"""Charts over time as geometry: bars that stack, and lines. Ink is the template's; lengths are
in its pixels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, log10
from typing import NamedTuple

from console.dashboard.throughput import Throughput
from sagas.admin.formatting import length

__all__ = ["Bar", "Chart", "Line", "Tick", "durations_of", "endings_of", "sparkline"]

WIDTH, HEIGHT = 560, 180
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 24
TICKS = 3
SPARK_WIDTH, SPARK_HEIGHT, SPARK_BARS = 192, 32, 32


# The narrowest stretch of time that a sparkline tells apart.
MOMENT = timedelta(milliseconds=100)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One part of a stacked bar; `kind` tells the template its colour, `title` what it says when
    pointed at.
    """

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line, in pieces where values are missing; each piece is an SVG path. What has no
    neighbour is a dot.
    """

    kind: str
    pieces: tuple[str, ...]
    lone: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A label beside an axis."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """All there is to draw. `empty`: no value at all; `summary` says in words what is to be
    seen.
    """

    summary: str
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    across: tuple[Tick, ...] = ()
    along: tuple[Tick, ...] = ()
    empty: bool = False
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT


def endings_of(found: Throughput) -> Chart:
    """Draw how many orders ended in each bucket: fulfilled below, cancelled on top."""
    top = _round_up(max(bucket.ended for bucket in found.buckets))
    bars = []
    for number, bucket in enumerate(found.buckets):
        done = _y(bucket.fulfilled, top)
        both = _y(bucket.ended, top)
        title = f"{bucket.since:%H:%M:%S} UTC: {bucket.fulfilled} fulfilled, {bucket.cancelled} cancelled"
        place = _Place(LEFT + number * _step(len(found.buckets)), _step(len(found.buckets)))
        bars += [
            place.bar("fulfilled", done, _y(0, top), title),
            place.bar("cancelled", both, done, title),
        ]
    fulfilled = sum(bucket.fulfilled for bucket in found.buckets)
    cancelled = sum(bucket.cancelled for bucket in found.buckets)
    return Chart(
        summary=f"{fulfilled} orders fulfilled and {cancelled} cancelled since {_minute(found)} UTC.",
        bars=tuple(bar for bar in bars if bar.height > 0),
        across=_across(top, unit=""),
        along=_along(found),
        empty=not fulfilled + cancelled,
    )


def durations_of(found: Throughput) -> Chart:
    """Draw how long orders took from placed to ended: half of them, and nineteen in twenty."""
    known = [bucket.p95 for bucket in found.buckets if bucket.p95 is not None]
    top = _round_up(max(known, default=0))
    last = next((bucket for bucket in reversed(found.buckets) if bucket.p95 is not None), None)
    return Chart(
        summary=f"Half of the last took {last.p50:.1f} s at most, nineteen in twenty {last.p95:.1f} s."
        if last
        else "",
        lines=(
            _line("p95", [bucket.p95 for bucket in found.buckets], top),
            _line("p50", [bucket.p50 for bucket in found.buckets], top),
        ),
        across=_across(top, unit=" s"),
        along=_along(found),
        empty=not known,
    )


def sparkline(moments: Sequence[datetime], *, until: datetime) -> Chart:
    """Draw how many of these moments there were in each stretch of time, from the first until a
    time.
    """
    since = min(moments, default=until)
    width = max((until - since) / SPARK_BARS, MOMENT)
    found = Counter(min(int((moment - since) / width), SPARK_BARS - 1) for moment in moments)
    most = max(found.values(), default=1)
    place = SPARK_WIDTH / SPARK_BARS
    return Chart(
        summary=f"{len(moments)} since {since:%Y-%m-%d %H:%M:%S} UTC, at most {most} within {length(width)}.",
        bars=tuple(
            _Place(number * place, place).bar(
                "failing", SPARK_HEIGHT * (1 - count / most), SPARK_HEIGHT, ""
            )
            for number, count in sorted(found.items())
        ),
        empty=not moments,
        width=SPARK_WIDTH,
        height=SPARK_HEIGHT,
    )


def _step(count: int) -> float:
    return (WIDTH - LEFT - RIGHT) / count


def _y(value: float, top: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top, 1)


def _minute(found: Throughput) -> str:
    return f"{found.buckets[0].since:%Y-%m-%d %H:%M}"


class _Place(NamedTuple):
    x: float
    width: float

    def bar(self, kind: str, y: float, below: float, title: str) -> Bar:
        x, width = round(self.x + 1, 1), round(self.width - 2, 1)
        return Bar(
            kind=kind, x=x, y=round(y, 1), width=width, height=round(below - y, 1), title=title
        )


def _line(kind: str, values: Sequence[float | None], top: float) -> Line:
    pieces: list[list[tuple[float, float]]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append(
                (round(LEFT + (number + 0.5) * _step(len(values)), 1), _y(value, top))
            )
    return Line(
        kind=kind,
        pieces=tuple(
            "M" + " L".join(f"{x} {y}" for x, y in piece) for piece in pieces if len(piece) > 1
        ),
        lone=tuple(piece[0] for piece in pieces if len(piece) == 1),
    )


def _round_up(most: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1
    power = 10.0 ** ceil(log10(most) - 1)
    return next(round(digit * power, 6) for digit in (1, 2, 5, 10) if digit * power >= most)


def _across(top: float, *, unit: str) -> tuple[Tick, ...]:
    values = [top * number / (TICKS - 1) for number in range(TICKS)]
    return tuple(Tick(x=LEFT - 6, y=_y(value, top), text=f"{value:g}{unit}") for value in values)


def _along(found: Throughput) -> tuple[Tick, ...]:
    """Label four times; with the day where the chart spans several."""
    count = len(found.buckets)
    days = found.buckets[-1].since - found.buckets[0].since
    shape = "%H:%M:%S" if days.total_seconds() < 600 else "%H:%M" if days.days < 2 else "%m-%d"
    return tuple(
        Tick(
            x=round(LEFT + number * _step(count), 1),
            y=HEIGHT - 6,
            text=found.buckets[number].since.strftime(shape),
        )
        for number in range(0, count, count // 4)
    )
