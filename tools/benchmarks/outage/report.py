"""Show a drill while it runs, and judge it at its end."""

import sys
from pathlib import Path

from rich.console import Console

from tools.benchmarks.line_chart import line_chart
from tools.benchmarks.open_orders import Sample
from tools.benchmarks.outage.drill import Outage
from tools.benchmarks.outage.watch import Snapshot
from tools.benchmarks.report import RESULTS, machine, write_json
from tools.benchmarks.tables import number, table, verdict_table
from tools.benchmarks.verdicts import Verdict, figure_of, verdict_on

__all__ = ["Progress", "judge_outage", "show_outage", "write_outage"]

# Without a terminal, a line is printed this often, and at each change of the phase.
LINE_SECONDS = 5.0


class Progress:
    """Prints each snapshot: on a terminal as one line that is refreshed, else as further lines."""

    def __init__(self, console: Console) -> None:
        """Print to a console."""
        self._console = console
        self._next = 0.0
        self._phase = ""

    def __call__(self, snapshot: Snapshot) -> None:
        """Show a snapshot."""
        line = describe(snapshot)
        if self._console.is_terminal:
            if snapshot.phase != self._phase and self._phase:
                sys.stdout.write("\n")
            width = max(20, self._console.width - 1)
            sys.stdout.write("\r" + line[:width].ljust(width))
            sys.stdout.flush()
        elif snapshot.seconds >= self._next or snapshot.phase != self._phase:
            self._console.print(line, highlight=False, soft_wrap=True)
            self._next = snapshot.seconds + LINE_SECONDS
        self._phase = snapshot.phase


def describe(snapshot: Snapshot) -> str:
    """Return a snapshot as one line."""
    return (
        f"{snapshot.seconds:5.0f} s  {snapshot.phase:<31}  {snapshot.orders:6,} orders in, "
        f"{snapshot.open:6,} open, {snapshot.held:6,} held, {snapshot.queued:5,} in the broker, "
        f"{snapshot.calls:5.1f} calls/s, {snapshot.cpu:5.1%} CPU, "
        f"{snapshot.attention:,} need attention, {snapshot.cancelled:,} cancelled"
    )


def judge_outage(outage: Outage) -> list[Verdict]:
    """Return all figures with a target, and whether each meets it."""
    return [
        _at_most("Most messages in the broker", outage.messages, "messages", 500),
        _at_most("Calls of the provider while it is down", outage.probes, "calls/s", 1),
        _at_most(
            "CPU of all workers while orders wait", 100 * outage.cpu_while_waiting, "% of one", 5
        ),
        _at_most("Orders that needed attention", outage.attention, "orders", 0),
        verdict_on(
            figure_of("Draining afterwards ÷ before", "×", [outage.drain_pace / outage.pace]),
            at_least=0.8,
        ),
        _at_most("Orders lost", outage.lost, "orders", 0),
        _at_most("Orders cancelled", outage.cancelled, "orders", 0),
    ]


def show_outage(console: Console, outage: Outage) -> None:
    """Print the facts of a drill, and its targets."""
    facts = table("The outage", "", "", "unit")
    for name, value, unit in (
        ("Draining before the outage", outage.pace, "sagas/s"),
        ("Draining afterwards", outage.drain_pace, "sagas/s"),
        ("Time until the first order ends", outage.resume_seconds, "s"),
        ("Time to drain", outage.drain_seconds, "s"),
        ("CPU of all workers while orders come", 100 * outage.cpu_while_coming, "% of one"),
    ):
        facts.add_row(name, number(value), unit)
    console.print(facts)
    console.print(verdict_table("Targets of the outage", judge_outage(outage)))


def write_outage(outage: Outage) -> Path:
    """Write the results as JSON and the open orders as a chart; return the path of the JSON."""
    lines = {
        "open": [Sample(each.seconds, each.open) for each in outage.snapshots],
        "held": [Sample(each.seconds, each.held) for each in outage.snapshots],
        "in the broker": [Sample(each.seconds, each.queued) for each in outage.snapshots],
    }
    title = "Orders and messages during an outage of the provider"
    (RESULTS / "outage.svg").write_text(line_chart(title, lines))
    everything = {"machine": machine(), "targets": judge_outage(outage), "outage": outage}
    return write_json("outage.json", everything)


def _at_most(name: str, value: float, unit: str, limit: float) -> Verdict:
    return verdict_on(figure_of(name, unit, [value]), at_most=limit)
