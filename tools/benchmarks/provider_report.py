"""Print the runs beside slow providers, and write them as JSON and as a chart."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from tools.benchmarks.line_chart import line_chart, sparkline
from tools.benchmarks.provider_runs import ProviderRun
from tools.benchmarks.providers import Providers, describe, judge_providers
from tools.benchmarks.report import RESULTS, machine, write_json
from tools.benchmarks.tables import number, table, verdict_table

__all__ = ["show_providers", "write_providers"]


def show_providers(console: Console, measured: Providers) -> None:
    """Print all runs, all drains, and the targets."""
    console.print(_runs(measured))
    console.print(_drains(measured))
    console.print(verdict_table("Providers", judge_providers(measured)))


def write_providers(measured: Providers) -> Path:
    """Write the results as JSON and the open orders as a chart; return the path of the JSON."""
    title = f"Open orders during {measured.size.seconds:g} s, by the provider's time for a call"
    lines = {_name(run): run.open_orders for run in measured.runs if not run.behaviour.hanging}
    (RESULTS / "open-orders.svg").write_text(line_chart(title, lines))
    everything = {
        "machine": machine(),
        "targets": judge_providers(measured),
        "highest_flat": {f"{call:g}": rate for call, rate in measured.highest.items()},
        "size": measured.size,
        "runs": measured.runs,
        "drains": measured.drains,
    }
    return write_json("providers.json", everything)


def _runs(measured: Providers) -> Table:
    shown = table(
        "POST to final status, in seconds, by the provider's time for a call",
        *("provider", "orders/s", "two calls", "p50", "p99", "others p99", "late", "cancelled"),
        *("calls", "most open", "flat", "open orders"),
    )
    for run in measured.runs:
        bound = "≥ " if run.late else ""
        shown.add_row(
            describe(run.behaviour),
            f"{run.rate:g}",
            number(run.behaviour.floor),
            number(run.p50 / 1000),
            bound + number(run.p99 / 1000),
            number(run.p99_of_others / 1000) if run.behaviour.hanging else "",
            str(run.late),
            str(run.cancelled),
            f"{run.calls_per_order:.2f}",
            str(run.most_open),
            "" if run.behaviour.hanging else "yes" if run.flat else "[red]no",
            sparkline(run.open_orders),
        )
    return shown


def _drains(measured: Providers) -> Table:
    shown = table(
        f"Draining {measured.size.orders:,} waiting orders",
        *("provider", "sagas/s", "of the first 95 %", "calls per order", "highest flat rate"),
    )
    for drain in measured.drains:
        highest = measured.highest.get(drain.behaviour.call_seconds)
        flat = "" if highest is None or drain.behaviour.hanging else f"{highest:g} orders/s"
        shown.add_row(
            describe(drain.behaviour),
            number(drain.rate),
            number(drain.rate_of_most),
            f"{drain.calls_per_order:.2f}",
            flat,
        )
    return shown


def _name(run: ProviderRun) -> str:
    return f"{describe(run.behaviour)}, {run.rate:g} orders/s"
