"""Draw the benchmark's bar chart as SVG, for light and dark pages."""

from collections.abc import Iterator, Sequence
from html import escape

from tools.benchmarks.verdicts import Figure, Verdict

__all__ = ["chart"]

BARS = {
    "Draining": "#2f6fde",
    "Live, four threads placing": "#2f6fde",
    "Bare SQL": "#8a8f98",
    "Naive chain, draining": "#8a8f98",
    "Naive chain, live": "#8a8f98",
}
WIDTH, LABEL, ROW, BAR = 720, 210, 30, 18
LONGEST = WIDTH - LABEL - 110
STYLE = """
  <style>
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .small { font-size: 11px; fill: #656d76 }
    .range { stroke: #1f2328; stroke-width: 1.2 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .small { fill: #9198a1 } .range { stroke: #e6edf3 }
    }
  </style>"""


def chart(figures: Sequence[Figure], verdicts: Sequence[Verdict]) -> str:
    """Return an SVG with sagas per second as bars, the range of the rounds, and the ratios."""
    shown = [figure for figure in figures if figure.name in BARS]
    most = max(figure.most for figure in shown)
    ratios = [
        verdict
        for verdict in verdicts
        if verdict.figure.name in ("Draining ÷ bare SQL", "Draining ÷ naive")
    ]
    height = 40 + ROW * len(shown) + 24
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "  <title>Sagas per second</title>" + STYLE,
        '  <text x="0" y="18">Sagas per second, three databases, four steps</text>',
        *(line for row, figure in enumerate(shown) for line in _bar(figure, 40 + ROW * row, most)),
        f'  <text class="small" x="0" y="{height - 6}">{escape(_words(ratios))}</text>',
        "</svg>",
    ]

    return "\n".join(lines) + "\n"


def _bar(figure: Figure, top: int, most: float) -> Iterator[str]:
    scale = LONGEST / most
    middle = top + BAR // 2
    left, right = LABEL + figure.least * scale, LABEL + figure.most * scale
    yield f'  <text x="0" y="{middle + 5}">{escape(figure.name)}</text>'
    width = figure.median * scale
    yield (
        f'  <rect x="{LABEL}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2" '
        f'fill="{BARS[figure.name]}"/>'
    )
    yield f'  <line class="range" x1="{left:.1f}" y1="{middle}" x2="{right:.1f}" y2="{middle}"/>'
    yield f'  <text x="{right + 8:.1f}" y="{middle + 5}">{figure.median:,.0f}</text>'


def _words(ratios: Sequence[Verdict]) -> str:
    parts = [f"{verdict.figure.name}: {verdict.figure.median:.2g}×" for verdict in ratios]
    return "Bars: median of the rounds. Lines: minimum to maximum. " + "; ".join(parts)
