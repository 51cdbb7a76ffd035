"""The tables of all reports."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from tools.benchmarks.verdicts import Verdict

__all__ = ["number", "table", "verdict_table"]


def table(title: str, *columns: str) -> Table:
    """Return an empty table. The first column is aligned to the left, all others to the right."""
    made = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=SIMPLE)
    for position, column in enumerate(columns):
        made.add_column(column, justify="left" if position == 0 else "right")
    return made


def number(value: float) -> str:
    """Format a value with three digits, or as a whole number from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def verdict_table(title: str, verdicts: Sequence[Verdict]) -> Table:
    """Return each figure with its range, its target, and whether it is met."""
    made = table(title, "", "median", "min", "max", "", "target", "result")
    for verdict in verdicts:
        figure = verdict.figure
        made.add_row(
            figure.name,
            *(number(value) for value in (figure.median, figure.least, figure.most)),
            figure.unit,
            verdict.target,
            "[green]met" if verdict.met else "[red]missed",
        )
    return made
