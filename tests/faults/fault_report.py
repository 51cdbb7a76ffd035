"""The report of the fault tests: one line for each fault, printed at the end."""

from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from sagas.testing.failpoints import Fault

__all__ = ["RESULTS", "FaultResult", "print_results"]


class FaultResult(NamedTuple):
    """A fault, the scenario that met it, how often it was hit, and how the order ended."""

    fault: Fault
    scenario: str
    hits: int
    outcome: str


RESULTS: list[FaultResult] = []


def print_results() -> None:
    """Print all results, sorted by failpoint."""
    table = Table(title=f"{len(RESULTS)} faults", title_style="bold")
    for heading in ("Point", "", "Step", "Action", "Scenario", "Hits", "Outcome"):
        table.add_column(heading, justify="right" if heading == "Hits" else "left")

    for line in sorted(RESULTS, key=lambda result: int(result.fault.point[1:])):
        point, step, action = line.fault
        meaning = point.name.lower().replace("_", " ")
        table.add_row(
            point.value, meaning, step, action.value, line.scenario, str(line.hits), line.outcome
        )

    Console(width=120).print(table)
