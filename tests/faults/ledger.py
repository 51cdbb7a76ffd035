"""What was done to the system and what became of it: one line for each fault, printed when all
is over.
"""

from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from sagas.testing.failpoints import Fault

__all__ = ["LINES", "Line", "print_lines"]


class Line(NamedTuple):
    """One fault: the walk it was put in the way of, how often it was hit, and how that walk
    ended.
    """

    fault: Fault
    walk: str
    hits: int
    outcome: str


LINES: list[Line] = []


def print_lines() -> None:
    """Print every line, in the order of the points."""
    table = Table(title=f"{len(LINES)} faults", title_style="bold")
    for heading in ("Point", "", "Step", "Action", "Walk", "Hits", "Outcome"):
        table.add_column(heading, justify="right" if heading == "Hits" else "left")
    for line in sorted(LINES, key=lambda one: int(one.fault.point[1:])):
        point, step, action = line.fault
        meaning = point.name.lower().replace("_", " ")
        table.add_row(
            point.value, meaning, step, action.value, line.walk, str(line.hits), line.outcome
        )
    Console(width=120).print(table)
