"""Shows a recovery: to people as a table and a list of rows, to programs as JSON."""

import json
from collections import defaultdict
from typing import IO, Any, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from recovery.run import Options, Report
from recovery.writes import Note, Write

__all__ = ["as_json", "print_report"]

# Columns, where the output is not a terminal.
WIDTH = 140


def as_json(options: Options, writes: list[Write], report: Report, open_sagas: int) -> str:
    """Return the report as JSON text."""
    return json.dumps(
        {
            "database": options.database,
            "applied": options.apply,
            "rounds": report.rounds,
            "left": report.left,
            "published_again": open_sagas,
            "writes": [_as_dict(write) for write in writes],
            "notes": [{**_as_dict(note), "blocking": note.blocking} for note in report.notes],
        },
        indent=2,
    )


def print_report(
    output: Any, options: Options, writes: list[Write], report: Report, *, limit: int
) -> None:
    """Print the table of kinds, then the rows of each kind, then the notes and a summary."""
    is_terminal = output.isatty()
    console = Console(
        file=cast("IO[str]", output),
        force_terminal=is_terminal,
        width=None if is_terminal else WIDTH,
        highlight=False,
    )
    console.print(_table(options, report))
    _print_rows(console, writes, limit, "")
    _print_rows(console, report.notes, limit, "For a person: ")
    console.print(_summary(options, report))


def _table(options: Options, report: Report) -> Table:
    title = f"{'Applied' if options.apply else 'Planned'} writes for {options.database}"
    table = Table(title=title, title_justify="left")
    table.add_column("Kind")
    table.add_column("Rows", justify="right")
    for kind, count in report.kinds.items():
        table.add_row(kind, f"{count:,}")
    return table


def _print_rows(console: Console, rows: list[Write] | list[Note], limit: int, prefix: str) -> None:
    by_kind: dict[str, list[Write | Note]] = defaultdict(list)
    for row in rows:
        by_kind[row.kind].append(row)
    for kind, found in by_kind.items():
        for row in found[:limit]:
            text = Text.assemble((f"{prefix}{kind} ", "bold"), f"{row.subject}: {row.detail}")
            console.print(text, soft_wrap=True)
        if len(found) > limit:
            hidden = len(found) - limit
            console.print(f"{kind} … and {hidden:,} more. Raise --limit to see them.")


def _summary(options: Options, report: Report) -> Text:
    total, left = report.kinds.total(), report.left
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
