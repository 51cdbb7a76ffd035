"""What the demo shows: progress, outcomes, timelines."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tools.local.demo.client import Json
from tools.local.demo.script import KINDS, Outcome
from tools.local.demo.story import Story, Watcher, duration, outcome

__all__ = ["progress_of", "show_open_orders", "show_outcomes", "show_timelines"]

ORDERS = sum(kind.orders for kind in KINDS)


@contextmanager
def progress_of(console: Console) -> Iterator[Watcher]:
    """Draw a bar for the orders placed and one for those that have ended."""
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        placed = bars.add_task("Placed", total=ORDERS)
        ended = bars.add_task("Ended", total=ORDERS)
        yield Watcher(
            placed=lambda count: bars.update(placed, completed=count),
            ended=lambda count: bars.update(ended, completed=count),
            says=lambda news: console.print(escape(news), style="yellow"),
        )


def show_outcomes(console: Console, story: Story) -> None:
    """Show how the orders of each kind ended, beside how they had to."""
    table = _table("What became of them", "Orders", "", "Fulfilled", "Cancelled", "Why", "")
    for kind in KINDS:
        found = story.outcomes(kind)
        verdict = (
            "[green]as it must be"
            if found == kind.expected
            else f"[red]expected {_spelt(kind.expected)}"
        )
        why = ", ".join(sorted({code for _, code in found if code}))
        fulfilled, cancelled = (_count(found, status) for status in ("fulfilled", "cancelled"))
        table.add_row(str(kind.orders), kind.title, fulfilled, cancelled, why, verdict)
    console.print(table)


def show_timelines(console: Console, story: Story) -> None:
    """Show what happened to one order of each kind, and to the one that waited longest."""
    shown = [(kind.title, _telling(story.of(kind))) for kind in KINDS if story.of(kind)]
    if slowest := story.slowest():
        shown.append((f"waited longest: {duration(slowest).total_seconds():.1f} s", slowest))
    table = _table("One of each kind", "Order", "After", "Event", "Detail")
    for title, order in shown:
        if events := story.customer.timeline(order):
            _add_timeline(table, title, order, events)
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=f"\n{title}", title_justify="left", title_style="bold", box=SIMPLE)


def show_open_orders(console: Console, story: Story) -> None:
    """Name the orders that have not ended."""
    for order in story.open_orders[:10]:
        console.print(f"[red]Order {order['id']} has not ended: it is {order['status']}")


def _telling(orders: list[Json]) -> Json:
    """Return one order, of those that were refused where there are such."""
    return next((order for order in orders if outcome(order)[1]), orders[0])


def _add_timeline(table: Table, title: str, order: Json, events: list[Json]) -> None:
    began_at = min(datetime.fromisoformat(event["at"]) for event in events)
    for number, event in enumerate(events):
        seconds = (datetime.fromisoformat(event["at"]) - began_at).total_seconds()
        row = (f"{seconds:.2f} s", event["type"], escape(_in_short(event["detail"])))
        table.add_row([title, f"[dim]{order['id']}", ""][min(number, 2)], *row)
    table.add_section()


def _in_short(detail: Json) -> str:
    """Return what a person wants to know of an event: the reason of a refusal, else money and
    pieces.
    """
    if "detail" in detail:
        return str(detail["detail"])
    money = (
        [f"{detail['amount'] / 100:.2f} {detail['currency'].upper()}"]
        if "currency" in detail
        else []
    )
    pieces = (
        [f"{detail['pieces']} piece{'s' * (detail['pieces'] != 1)}"] if "pieces" in detail else []
    )
    return ", ".join(money + pieces)


def _count(found: Counter[Outcome], status: str) -> str:
    return str(sum(count for (ended, _), count in found.items() if ended == status) or "")


def _spelt(expected: Counter[Outcome]) -> str:
    return ", ".join(
        f"{count} {' '.join(filter(None, ended))}" for ended, count in expected.items()
    )
