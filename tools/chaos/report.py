"""What the soak shows: its progress, and what it came to."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tools.chaos.errands import KINDS
from tools.chaos.soak import Outcome, Size

__all__ = ["as_json", "progress_of", "show"]

MOST_VIOLATIONS = 50
# Where nobody sees bars move, a line for each such part of the orders.
PARTS = 10

Progressed = Callable[[int, int, int], None]


@contextmanager
def progress_of(console: Console, size: Size) -> Iterator[Progressed]:
    """Draw a bar each for what is answered, has ended and has struck; lines where the output is
    no terminal.
    """
    if not console.is_terminal:
        yield Lines(console, size)
        return
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        totals = {
            "Answered": size.orders,
            "Ended": size.orders,
            "Faults": size.kills + size.flushalls,
        }
        tasks = [bars.add_task(title, total=total) for title, total in totals.items()]

        def progressed(*counts: int) -> None:
            for task, count in zip(tasks, counts, strict=True):
                bars.update(task, completed=count)

        yield progressed


class Lines:
    """Progress as lines, a few in all."""

    def __init__(self, console: Console, size: Size) -> None:
        """Take where to print, and how much there will be."""
        self._console = console
        self._size = size
        self._part = 0

    def __call__(self, answered: int, ended: int, struck: int) -> None:
        """Print a line if another part of the orders has been answered."""
        part = PARTS * answered // self._size.orders
        if part > self._part:
            self._part = part
            self._console.print(
                f"{answered:,} orders answered, {ended:,} ended, {struck:,} faults", highlight=False
            )


def as_json(outcome: Outcome) -> str:
    """Return the outcome as JSON text."""
    return msgspec.json.format(msgspec.json.encode(outcome), indent=2).decode()


def show(console: Console, outcome: Outcome) -> None:
    """Show how the orders ended, what was answered, what struck, and everything that is wrong."""
    console.print(_ends(outcome))
    console.print(_counts("Faults that struck", outcome.struck))
    console.print(_counts("Answers to the customers", outcome.answers))
    for violation in outcome.violations[:MOST_VIOLATIONS]:
        console.print(f"[red]{escape(violation)}", soft_wrap=True)
    if hidden := len(outcome.violations[MOST_VIOLATIONS:]):
        console.print(f"[red]… and {hidden:,} more")


def _ends(outcome: Outcome) -> Table:
    table = _table("What became of the orders", "Orders", "", "How they ended")
    for kind in KINDS:
        found = outcome.ends.get(kind.title, Counter())
        table.add_row(f"{found.total():,}", kind.title, _spelt(found))
    return table


def _counts(title: str, counts: Counter[str]) -> Table:
    table = _table(title, "", "")
    for name, count in counts.most_common():
        table.add_row(f"{count:,}", name)
    return table


def _table(title: str, *columns: str) -> Table:
    style = {
        "title_justify": "left",
        "title_style": "bold",
        "box": SIMPLE,
        "min_width": len(title) + 4,
    }
    return Table(*columns, title=f"\n{title}", show_header=any(columns), **style)  # type: ignore[arg-type]


def _spelt(found: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in found.most_common())
