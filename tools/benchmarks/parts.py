"""The parts of the benchmark: each starts its systems, measures, prints, and writes its results."""

import contextlib
from collections.abc import Callable

from rich.console import Console

from tools.benchmarks.command_line import Options
from tools.benchmarks.growth import GrowthSize, measure_growth
from tools.benchmarks.isolated_stack import new_system
from tools.benchmarks.measurement import measure
from tools.benchmarks.outage.drill import FULL as FULL_OUTAGE
from tools.benchmarks.outage.drill import OutageSize, run_outage
from tools.benchmarks.outage.report import Progress, show_outage, write_outage
from tools.benchmarks.provider_report import show_providers, write_providers
from tools.benchmarks.providers import FULL, ProviderSize, measure_providers
from tools.benchmarks.recovery import FULL as FULL_RECOVERY
from tools.benchmarks.recovery import REPEATS, measure_recovery, show_recovery, write_recovery
from tools.benchmarks.report import show, show_growth, write, write_growth
from tools.benchmarks.scenarios import SHORT_WARM_UP

__all__ = [
    "measure_figures_part",
    "measure_growth_part",
    "measure_outage_part",
    "measure_providers_part",
    "measure_recovery_part",
]


def measure_figures_part(console: Console, options: Options) -> None:
    """Measure throughput, latency and CPU beside the baselines."""
    with contextlib.ExitStack() as contexts:
        ours = contexts.enter_context(new_system())
        baseline = contexts.enter_context(new_system(baseline=True))
        measured = measure(ours, baseline, options.size, notify=_to(console))

    show(console, measured)
    console.print(f"All results are in {write(measured)}", highlight=False)


def measure_providers_part(console: Console, options: Options) -> None:
    """Measure beside slow providers."""
    with new_system(sandbox=True) as system:
        size = FULL if options.full else ProviderSize()
        measured = measure_providers(system, size, notify=_to(console))

    show_providers(console, measured)
    console.print(f"All results are in {write_providers(measured)}", highlight=False)


def measure_recovery_part(console: Console, options: Options) -> None:
    """Measure how soon orders go on after a loss."""
    repeats = FULL_RECOVERY if options.full else REPEATS
    with new_system(sandbox=True) as system:
        system.drain(SHORT_WARM_UP)
        measured = measure_recovery(system, repeats, notify=_to(console))

    show_recovery(console, measured)
    console.print(f"All results are in {write_recovery(measured)}", highlight=False)


def measure_outage_part(console: Console, options: Options) -> None:
    """Measure during an outage of the provider."""
    size = FULL_OUTAGE if options.full else OutageSize()
    with new_system(sandbox=True) as system:
        system.drain(size.pace_orders)
        outage = run_outage(system, size, notify=Progress(console))

    show_outage(console, outage)
    console.print(f"All results are in {write_outage(outage)}", highlight=False)


def measure_growth_part(console: Console, options: Options) -> None:
    """Measure with a long history, and with a backlog."""
    size = GrowthSize(
        rounds=options.size.rounds,
        history=options.history,
        backlog=options.backlog,
        orders=options.size.orders,
    )
    with contextlib.ExitStack() as contexts:
        empty = contexts.enter_context(new_system())
        old = contexts.enter_context(new_system())
        growth = measure_growth(empty, old, size, notify=_to(console))

    show_growth(console, growth)
    console.print(f"All results are in {write_growth(growth)}", highlight=False)


def _to(console: Console) -> Callable[[str], None]:
    return lambda news: console.print(news, highlight=False)
