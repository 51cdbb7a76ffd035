"""Draw the open orders over time: a small SVG for the documents, and a row of bars as text."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from tools.benchmarks.chart import STYLE
from tools.benchmarks.open_orders import Sample

__all__ = ["line_chart", "sparkline"]

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 720, 200, 44, 30, 28, 190
COLOURS = ("#2f6fde", "#d0762b", "#2f9e62", "#8a4fd0", "#c23b5a", "#8a8f98", "#3aa6b9", "#7a6a2f")
BLOCKS = "▁▂▃▄▅▆▇█"
POINTS = 16


def sparkline(samples: Sequence[Sample]) -> str:
    """Return the open orders as a row of bars, the highest bar for the largest number."""
    if not samples:
        return ""
    most = max(1, *(sample.open for sample in samples))
    step = max(1, len(samples) // POINTS)
    return "".join(
        BLOCKS[round((len(BLOCKS) - 1) * sample.open / most)] for sample in samples[::step]
    )


def line_chart(title: str, lines: Mapping[str, Sequence[Sample]]) -> str:
    """Return an SVG with a line for each name: seconds to the right, open orders upwards."""
    drawn = {name: samples for name, samples in lines.items() if samples}
    seconds = max((samples[-1].seconds for samples in drawn.values()), default=1.0)
    most = max((sample.open for samples in drawn.values() for sample in samples), default=1) or 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"  <title>{escape(title)}</title>" + STYLE,
        f'  <text x="0" y="16">{escape(title)}</text>',
        *_axes(seconds, most),
    ]
    for number, (name, samples) in enumerate(drawn.items()):
        parts += _line(name, samples, number, seconds=seconds, most=most)

    return "\n".join([*parts, "</svg>"]) + "\n"


def _axes(seconds: float, most: int) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - LEGEND
    yield f'  <line class="range" x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
    yield f'  <text class="small" x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end">{most:,}</text>'
    yield f'  <text class="small" x="{LEFT - 6}" y="{bottom}" text-anchor="end">0</text>'
    yield (
        f'  <text class="small" x="{right}" y="{bottom + 16}" text-anchor="end">'
        f"{seconds:,.0f} s</text>"
    )


def _line(
    name: str, samples: Sequence[Sample], number: int, *, seconds: float, most: int
) -> Iterator[str]:
    colour = COLOURS[number % len(COLOURS)]
    wide, high = WIDTH - LEGEND - LEFT, HEIGHT - BOTTOM - TOP
    points = " ".join(
        f"{LEFT + wide * sample.seconds / seconds:.1f},"
        f"{HEIGHT - BOTTOM - high * sample.open / most:.1f}"
        for sample in samples
    )
    yield (
        f'  <polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        f'\n  <text class="small" x="{WIDTH - LEGEND + 12}" y="{TOP + 8 + 16 * number}"'
        f' style="fill: {colour}">{escape(name)}</text>'
    )
