"""Print the progress and the result of a soak."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tools.chaos.soak import SoakOptions, SoakResult
from tools.chaos.workload import KINDS

__all__ = ["as_json", "progress_of", "show"]

MOST_VIOLATIONS = 50
# Without a terminal, progress is printed this many times.
PARTS = 10

Progressed = Callable[[int, int, int], None]


@contextmanager
def progress_of(console: Console, options: SoakOptions) -> Iterator[Progressed]:
    """Draw bars for answered orders, ended orders and faults; print lines without a terminal."""
    if not console.is_terminal:
        yield Lines(console, options)
        return

    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        totals = {
            "Answered": options.orders,
            "Ended": options.orders,
            "Faults": sum(
                (options.kills, options.flushalls, options.bad_releases, options.deployments)
            ),
        }
        tasks = [bars.add_task(title, total=total) for title, total in totals.items()]

        def progressed(*counts: int) -> None:
            for task, count in zip(tasks, counts, strict=True):
                bars.update(task, completed=count)

        yield progressed


class Lines:
    """Prints progress as lines: one for each tenth of the orders."""

    def __init__(self, console: Console, options: SoakOptions) -> None:
        """Print to `console` for a soak of `options`."""
        self._console = console
        self._options = options
        self._part = 0

    def __call__(self, answered: int, ended: int, injected: int) -> None:
        """Print a line if another tenth of the orders has been answered."""
        part = PARTS * answered // self._options.orders
        if part > self._part:
            self._part = part
            self._console.print(
                f"{answered:,} orders answered, {ended:,} ended, {injected:,} faults injected",
                highlight=False,
            )


def as_json(result: SoakResult) -> str:
    """Encode the result as JSON text."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2).decode()


def show(console: Console, result: SoakResult) -> None:
    """Print how the orders ended, the faults, the answers, and all violations."""
    console.print(_endings(result))
    console.print(_counts("How the returns ended", result.returns))
    console.print(_counts("Injected faults", result.injected))
    if result.episodes:
        console.print(_counts("Bad releases and deployments", result.episodes))
    if result.movements:
        console.print(_counts("Money that other people moved", result.movements))
    console.print(_counts("HTTP answers to the customers", result.answers))
    for violation in result.violations[:MOST_VIOLATIONS]:
        console.print(f"[red]{escape(violation)}", soft_wrap=True)

    if hidden := len(result.violations[MOST_VIOLATIONS:]):
        console.print(f"[red]… and {hidden:,} more violations")


def _endings(result: SoakResult) -> Table:
    table = _table("How the orders ended", "Orders", "Kind", "Outcomes")
    for kind in KINDS:
        found = result.endings.get(kind.title, Counter())
        table.add_row(f"{found.total():,}", kind.title, _join_counts(found))

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


def _join_counts(found: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in found.most_common())
