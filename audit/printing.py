"""Shows a report: to people as a table with the offending rows, to programs as JSON."""

import json
from collections import Counter
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
            "orders": _numbers(report.orders),
            "sagas": {name: _numbers(found) for name, found in report.sagas.items()},
            "invariants": [_verdict(verdict) for verdict in report.verdicts],
        },
        indent=2,
    )


def _numbers(found: Counter[str]) -> dict[str, int]:
    return {"ended": found["ended"], "open": found["open"], "forgotten": found["purged"]}


def print_report(report: Report, console: Console) -> None:
    """Print the table of invariants, then the violations, then a summary."""
    console.print(_table(report))
    for verdict in report.verdicts:
        for line in _violations(verdict):
            console.print(line, soft_wrap=True)
    console.print(_summary(report))


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict.invariant.id,
        "says": verdict.invariant.title,
        "looked_at": dict(verdict.checked),
        "violations": verdict.violations,
        "shown": [violation._asdict() for violation in verdict.shown],
        "note": verdict.note,
    }


def _table(report: Report) -> Table:
    table = Table(title="Invariants across all services", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("Invariant")
    table.add_column("Checked")
    table.add_column("Violations", justify="right")

    for verdict in report.verdicts:
        style = "bold red" if verdict.violations else "green"
        violations = Text(f"{verdict.violations:,}", style=style)
        invariant = verdict.invariant
        table.add_row(invariant.id, invariant.title, _checked(verdict), violations)
    return table


def _checked(verdict: Verdict) -> str:
    counts = [f"{count:,} {unit}" for unit, count in verdict.checked.items() if count]
    checked = ", ".join(counts) or "–"
    return f"{checked} ({verdict.note})" if verdict.note else checked


def _violations(verdict: Verdict) -> Iterator[Text]:
    for subject, detail in verdict.shown:
        yield Text.assemble((f"{verdict.invariant.id} ", "bold red"), f"{subject}: {detail}")
    if hidden := verdict.violations - len(verdict.shown):
        yield Text(
            f"{verdict.invariant.id} … and {hidden:,} more. Raise --limit to see them.", style="red"
        )


def _summary(report: Report) -> Text:
    orders = report.orders
    text = f"{orders['ended']:,} orders have ended, {orders['open']:,} are open."
    if orders["purged"]:
        text += f" The messages of {orders['purged']:,} orders were purged and not checked."
    for name, found in report.sagas.items():
        text += f" {found['ended']:,} {name} have ended, {found['open']:,} are open."
    if report.violations:
        violations = f"{report.violations:,} violations. Amounts are in minor units."
        return Text.assemble(text, " ", (violations, "bold red"))
    return Text.assemble(text, " ", ("Every invariant holds.", "bold green"))
