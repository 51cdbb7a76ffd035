"""The report of the fault tests: one line for each fault, printed at the end.

A pytest plugin, because the fault tests may run in several processes: each test stores its results
in its report, which reaches the process that prints.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from sagas.failpoints import Fault

__all__ = ["StoreResult", "store_result"]

PROPERTY = "fault"
HEADINGS = ("Point", "", "Step", "Action", "Scenario", "Hits", "Outcome")

StoreResult = Callable[[Fault, str, int, str], None]


@pytest.fixture
def store_result(record_property: Callable[[str, Any], None]) -> StoreResult:
    """Return a function that stores a fault, the scenario that met it, how often the fault was hit,
    and how the order ended.
    """

    def store(fault: Fault, scenario: str, hits: int, outcome: str) -> None:
        point, step, action = fault
        meaning = point.name.lower().replace("_", " ")
        cells = (point.value, meaning, step, action.value, scenario, str(hits), outcome)
        record_property(PROPERTY, cells)

    return store


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print all results, sorted by failpoint."""
    results = sorted(_results(terminalreporter), key=lambda cells: int(cells[0][1:]))
    if not results:
        return

    table = Table(title=f"{len(results)} faults", title_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading == "Hits" else "left")
    for cells in results:
        table.add_row(*cells)
    Console(width=120).print(table)


def _results(terminalreporter: Any) -> Iterator[tuple[str, ...]]:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == PROPERTY and report.when == "call":
                    yield tuple(value)
