"""What was done to the system and what became of it: one line for each fault, printed when all
is over.
"""

from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from sagas.testing.failpoints import Fault

__all__ = ["RESULTS", "FaultResult", "print_results"]


class FaultResult(NamedTuple):
    """One fault: the scenario it was put in the way of, how often it was hit, and how that scenario
    ended.
    """

    fault: Fault
    scenario: str
    hits: int
    outcome: str


RESULTS: list[FaultResult] = []


def print_results() -> None:
    """Print every line, in the order of the points."""
    table = Table(title=f"{len(RESULTS)} faults", title_style="bold")
    for heading in ("Point", "", "Step", "Action", "Scenario", "Hits", "Outcome"):
        table.add_column(heading, justify="right" if heading == "Hits" else "left")
    for line in sorted(RESULTS, key=lambda one: int(one.fault.point[1:])):
        point, step, action = line.fault
        meaning = point.name.lower().replace("_", " ")
        table.add_row(
            point.value, meaning, step, action.value, line.scenario, str(line.hits), line.outcome
        )
    Console(width=120).print(table)
