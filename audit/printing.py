"""How a report is shown: as a table and the offending rows to people, as JSON to programs."""

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.report import Report, Verdict

__all__ = ["as_json", "print_report"]


def as_json(report: Report) -> str:
    """Return the report as JSON text."""
    return json.dumps(
        {
            "ok": not report.violations,
            "violations": report.violations,
            "orders": {kind: report.orders[kind] for kind in ("ended", "open", "forgotten")},
            "invariants": [_verdict(verdict) for verdict in report.verdicts],
        },
        indent=2,
    )


def print_report(report: Report, console: Console) -> None:
    """Print the table, then what breaks the invariants, then the sum of it."""
    console.print(_table(report))
    for verdict in report.verdicts:
        for line in _details(verdict):
            console.print(line, soft_wrap=True)
    console.print(_summary(report))


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict.invariant.id,
        "says": verdict.invariant.says,
        "looked_at": dict(verdict.looked_at),
        "violations": verdict.violations,
        "shown": [violation._asdict() for violation in verdict.shown],
        "note": verdict.note,
    }


def _table(report: Report) -> Table:
    table = Table(
        title="What must hold across orders, payments and inventory", title_justify="left"
    )
    table.add_column("", no_wrap=True)
    table.add_column("Invariant")
    table.add_column("Looked at")
    table.add_column("Violations", justify="right")
    for verdict in report.verdicts:
        found = Text(f"{verdict.violations:,}", style="bold red" if verdict.violations else "green")
        table.add_row(verdict.invariant.id, verdict.invariant.says, _looked_at(verdict), found)
    return table


def _looked_at(verdict: Verdict) -> str:
    looked_at = (
        ", ".join(f"{count:,} {of}" for of, count in verdict.looked_at.items() if count) or "–"
    )
    return f"{looked_at} ({verdict.note})" if verdict.note else looked_at


def _details(verdict: Verdict) -> Iterator[Text]:
    for subject, detail in verdict.shown:
        yield Text.assemble((f"{verdict.invariant.id} ", "bold red"), f"{subject}: {detail}")
    if hidden := verdict.violations - len(verdict.shown):
        yield Text(f"{verdict.invariant.id} … and {hidden:,} more", style="red")


def _summary(report: Report) -> Text:
    orders = report.orders
    text = f"{orders['ended']:,} orders have ended, {orders['open']:,} are open."
    if orders["forgotten"]:
        text += f" The messages of {orders['forgotten']:,} have been purged, and are not looked at."
    if report.violations:
        return Text.assemble(text, " ", (f"{report.violations:,} violations.", "bold red"))
    return Text.assemble(text, " ", ("Every invariant holds.", "bold green"))
