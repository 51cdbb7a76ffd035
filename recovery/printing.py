"""Shows a recovery: to people as a table and a list of rows, to programs as JSON."""

import json
from collections import defaultdict
from typing import IO, Any, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.printing import as_json as audit_as_json
from audit.printing import print_report as print_audit
from audit.report import Report as AuditReport
from recovery.run import Options, Report
from recovery.writes import Note, Write

__all__ = ["ShownWrites", "as_json", "print_report"]

# Columns, where the output is not a terminal.
WIDTH = 140


class ShownWrites:
    """The writes to show: up to `limit` of each kind, or all of them."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.by_kind: dict[str, list[Write]] = defaultdict(list)

    def add(self, write: Write) -> None:
        """Keep a write, unless there are enough of its kind."""
        shown = self.by_kind[write.kind]
        if self.limit is None or len(shown) < self.limit:
            shown.append(write)


def as_json(
    options: Options,
    writes: ShownWrites,
    report: Report,
    made_due: int,
    audited: AuditReport | None,
) -> str:
    """Return the report as JSON text. `made_due`: the open orders that were published again."""
    return json.dumps(
        {
            "database": options.database,
            "applied": options.apply,
            "rounds": report.rounds,
            "left": report.left,
            "published_again": made_due,
            "kinds": dict(report.kinds),
            "writes": [_as_dict(write) for shown in writes.by_kind.values() for write in shown],
            "notes": [{**_as_dict(note), "blocking": note.blocking} for note in report.notes],
            "audit": json.loads(audit_as_json(audited)) if audited else None,
        },
        indent=2,
    )


def print_report(
    output: Any,
    options: Options,
    writes: ShownWrites,
    report: Report,
    made_due: int,
    audited: AuditReport | None,
) -> None:
    """Print the table of kinds, then the rows of each kind, the notes, the summary, the audit."""
    is_terminal = output.isatty()
    console = Console(
        file=cast("IO[str]", output),
        force_terminal=is_terminal,
        width=None if is_terminal else WIDTH,
        highlight=False,
    )
    if report.kinds:
        console.print(_table(options, report))
    for kind, shown in writes.by_kind.items():
        _print_rows(console, kind, shown, report.kinds[kind])
    for note in report.notes:
        _print_row(console, f"For a person: {note.kind}", note)
    console.print(_summary(options, report))
    if options.apply:
        console.print(f"{made_due:,} open orders were made due again.")
    if audited:
        print_audit(audited, console)


def _table(options: Options, report: Report) -> Table:
    title = f"{'Applied' if options.apply else 'Planned'} writes for {options.database}"
    table = Table(title=title, title_justify="left")
    table.add_column("Kind")
    table.add_column("Rows", justify="right")
    for kind, count in report.kinds.items():
        table.add_row(kind, f"{count:,}")
    return table


def _print_rows(console: Console, kind: str, shown: list[Write], total: int) -> None:
    for write in shown:
        _print_row(console, kind, write)
    if hidden := total - len(shown):
        console.print(f"{kind} … and {hidden:,} more. Raise --limit to see them.")


def _print_row(console: Console, heading: str, row: Write | Note) -> None:
    text = Text.assemble((f"{heading} ", "bold"), f"{row.subject}: {row.detail}")
    console.print(text, soft_wrap=True)


def _summary(options: Options, report: Report) -> Text:
    total, left = report.kinds.total(), report.left
    if not options.apply and not total:
        return Text(f"Nothing is missing in {options.database}. Nothing was written.")
    if not options.apply:
        text = f"{total:,} writes are planned; later rounds may add more. Nothing was written."
        return Text.assemble(text, " Add --apply to write.")
    text = f"{total:,} writes were applied in {report.rounds} rounds."
    if left or report.blocking:
        problem = f"{left:,} writes did not last, {len(report.blocking):,} notes are open."
        return Text.assemble(text, " ", (problem, "bold red"))
    return Text.assemble(text, " ", ("Nothing is left to rebuild.", "bold green"))


def _as_dict(row: Write | Note) -> dict[str, str]:
    return {"kind": row.kind, "subject": row.subject, "detail": row.detail}
