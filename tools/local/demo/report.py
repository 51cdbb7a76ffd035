"""Print the demo's progress, outcomes and timelines."""

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
from tools.local.demo.demo_run import DemoRun, ProgressListener, duration, outcome
from tools.local.demo.order_kinds import KINDS, Outcome
from tools.local.demo.return_kinds import RETURN_KINDS
from tools.local.demo.returns import Returns

__all__ = [
    "progress_of",
    "show_free_orders",
    "show_open_orders",
    "show_outcomes",
    "show_returns",
    "show_timelines",
]

ORDERS = sum(kind.orders for kind in KINDS)


@contextmanager
def progress_of(console: Console) -> Iterator[ProgressListener]:
    """Draw a bar for the placed orders and a bar for the ended orders."""
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        placed = bars.add_task("Placed", total=ORDERS)
        ended = bars.add_task("Ended", total=ORDERS)
        yield ProgressListener(
            placed=lambda count: bars.update(placed, completed=count),
            ended=lambda count: bars.update(ended, completed=count),
            message=lambda text: console.print(escape(text), style="yellow"),
        )


def show_outcomes(console: Console, run: DemoRun) -> None:
    """Print how the orders of each kind ended, and whether that was expected."""
    table = _table(
        "How the orders ended", "Orders", "Kind", "Fulfilled", "Cancelled", "Reason", "Result"
    )
    for kind in KINDS:
        found = run.outcomes(kind)
        verdict = (
            "[green]as expected"
            if found == kind.expected
            else f"[red]expected {_join_counts(kind.expected)}"
        )
        reasons = ", ".join(sorted({code for _, code in found if code}))
        fulfilled, cancelled = (_count(found, status) for status in ("fulfilled", "cancelled"))
        table.add_row(str(kind.orders), kind.title, fulfilled, cancelled, reasons, verdict)

    console.print(table)


def show_returns(console: Console, returns: Returns) -> None:
    """Print how the returns of each kind ended, and whether that was expected."""
    table = _table("How the returns ended", "Returns", "Kind", "Ended", "Refunded", "Result")
    for kind in RETURN_KINDS:
        found = returns.of(kind)
        ended = Counter(returned["status"] for returned in found)
        refunded = sum(
            returned["amount"] for returned in found if returned["status"] == "completed"
        )
        table.add_row(
            str(kind.returns),
            kind.title,
            ", ".join(f"{count} {status}" for status, count in ended.items()),
            f"{refunded / 100:.2f} EUR" if refunded else "",
            "[green]as expected"
            if ended == {kind.expected: kind.returns}
            else f"[red]expected {kind.expected}",
        )

    console.print(table)


def show_timelines(console: Console, run: DemoRun) -> None:
    """Print the timeline of one order of each kind, and of the slowest order."""
    shown = [(kind.title, _example(run.of(kind))) for kind in KINDS if run.of(kind)]
    if slowest := run.slowest():
        shown.append((f"slowest: {duration(slowest).total_seconds():.1f} s", slowest))

    table = _table("The timeline of one order of each kind", "Order", "After", "Event", "Detail")
    for title, order in shown:
        if events := run.customer.timeline(order):
            _add_timeline(table, title, order, events)

    console.print(table)


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=f"\n{title}", title_justify="left", title_style="bold", box=SIMPLE)


def show_open_orders(console: Console, run: DemoRun) -> None:
    """Print the orders that have not ended, at most ten."""
    for order in run.open_orders[:10]:
        console.print(f"[red]Order {order['id']} has not ended. Its status is {order['status']}.")


def show_free_orders(console: Console, moved: list[str]) -> None:
    """Print the free orders for which money may have moved, or that there are none."""
    for order in moved:
        console.print(f"[red]Money may have moved for order {order}, which is free.")
    if not moved:
        console.print("[green]No payment and no movement of money exists for the free order.")


def _example(orders: list[Json]) -> Json:
    """Return the first refused order, else the first order."""
    return next((order for order in orders if outcome(order)[1]), orders[0])


def _add_timeline(table: Table, title: str, order: Json, events: list[Json]) -> None:
    began_at = min(datetime.fromisoformat(event["at"]) for event in events)
    for number, event in enumerate(events):
        seconds = (datetime.fromisoformat(event["at"]) - began_at).total_seconds()
        row = (f"{seconds:.2f} s", event["type"], escape(_summary(event["detail"])))
        table.add_row([title, f"[dim]{order['id']}", ""][min(number, 2)], *row)

    table.add_section()


def _summary(detail: Json) -> str:
    """Summarize an event: the reason of a refusal, else the amount and the pieces."""
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


def _join_counts(expected: Counter[Outcome]) -> str:
    return ", ".join(
        f"{count} {' '.join(filter(None, ended))}" for ended, count in expected.items()
    )
