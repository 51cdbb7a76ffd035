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

from console.dashboard.throughput import Throughput
from sagas.admin.formatting import length

__all__ = ["Bar", "Chart", "Line", "Tick", "durations_chart", "endings_chart", "sparkline"]

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


def endings_chart(found: Throughput) -> Chart:
    """Chart how many orders ended in each bucket: fulfilled below, cancelled on top."""
    top = _round_up(max(bucket.ended for bucket in found.buckets))
    width = _slot_width(len(found.buckets))
    bars = []
    for number, bucket in enumerate(found.buckets):
        done = _y(bucket.fulfilled, top)
        both = _y(bucket.ended, top)
        title = (
            f"{bucket.since:%H:%M:%S} UTC: {bucket.fulfilled} fulfilled,"
            f" {bucket.cancelled} cancelled"
        )
        slot = _Slot(LEFT + number * width, width)
        bars += [
            slot.bar("fulfilled", done, _y(0, top), title),
            slot.bar("cancelled", both, done, title),
        ]

    fulfilled = sum(bucket.fulfilled for bucket in found.buckets)
    cancelled = sum(bucket.cancelled for bucket in found.buckets)
    return Chart(
        summary=(
            f"{fulfilled} orders fulfilled and {cancelled} cancelled since {_minute(found)} UTC."
        ),
        bars=tuple(bar for bar in bars if bar.height > 0),
        y_ticks=_y_ticks(top, unit=""),
        x_ticks=_x_ticks(found),
        empty=not fulfilled + cancelled,
    )


def durations_chart(found: Throughput) -> Chart:
    """Chart how long orders took from placed to ended: p50 and p95."""
    known = [bucket.p95 for bucket in found.buckets if bucket.p95 is not None]
    top = _round_up(max(known, default=0))
    last = next((bucket for bucket in reversed(found.buckets) if bucket.p95 is not None), None)
    return Chart(
        summary=(
            f"Of the latest orders, half took at most {last.p50:.1f} s, and 95 % at most"
            f" {last.p95:.1f} s."
            if last
            else ""
        ),
        lines=(
            _line("p95", [bucket.p95 for bucket in found.buckets], top),
            _line("p50", [bucket.p50 for bucket in found.buckets], top),
        ),
        y_ticks=_y_ticks(top, unit=" s"),
        x_ticks=_x_ticks(found),
        empty=not known,
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
            _Slot(number * slot_width, slot_width).bar(
                "failing", SPARK_HEIGHT * (1 - count / most), SPARK_HEIGHT, ""
            )
            for number, count in sorted(found.items())
        ),
        empty=not moments,
        width=SPARK_WIDTH,
        height=SPARK_HEIGHT,
    )


def _slot_width(count: int) -> float:
    return (WIDTH - LEFT - RIGHT) / count


def _y(value: float, top: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top, 1)


def _minute(found: Throughput) -> str:
    return f"{found.buckets[0].since:%Y-%m-%d %H:%M}"


class _Slot(NamedTuple):
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
            x = round(LEFT + (number + 0.5) * _slot_width(len(values)), 1)
            pieces[-1].append((x, _y(value, top)))

    return Line(
        kind=kind,
        pieces=tuple(
            "M" + " L".join(f"{x} {y}" for x, y in piece) for piece in pieces if len(piece) > 1
        ),
        dots=tuple(piece[0] for piece in pieces if len(piece) == 1),
    )


def _round_up(most: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1
    power = 10.0 ** ceil(log10(most) - 1)
    return next(round(digit * power, 6) for digit in (1, 2, 5, 10) if digit * power >= most)


def _y_ticks(top: float, *, unit: str) -> tuple[Tick, ...]:
    values = [top * number / (TICKS - 1) for number in range(TICKS)]
    return tuple(Tick(x=LEFT - 6, y=_y(value, top), text=f"{value:g}{unit}") for value in values)


def _x_ticks(found: Throughput) -> tuple[Tick, ...]:
    """Label four times: with seconds on a short chart, and with dates on a long one."""
    count = len(found.buckets)
    span = found.buckets[-1].since - found.buckets[0].since
    return tuple(
        Tick(
            x=round(LEFT + number * _slot_width(count), 1),
            y=HEIGHT - 6,
            text=found.buckets[number].since.strftime(_time_format(span)),
        )
        for number in range(0, count, count // 4)
    )


def _time_format(span: timedelta) -> str:
    if span.total_seconds() < 600:
        return "%H:%M:%S"
    if span.days < 2:
        return "%H:%M"
    return "%m-%d"
