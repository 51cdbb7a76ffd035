"""The command line: `python -m tools.benchmarks`."""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from tools.benchmarks.growth import GrowthSize, measure_growth
from tools.benchmarks.isolated_stack import new_system
from tools.benchmarks.measurement import Size, measure
from tools.benchmarks.report import show, show_growth, write, write_growth
from tools.local.errors import LocalError
from tools.local.signals import stop_in_order

NARROWEST = 110


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the results, and write them to files."""
    options = _parser().parse_args(arguments)
    stop_in_order()

    try:
        if options.growth:
            _measure_growth(options)
        else:
            _measure(_size(options))
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130

    return 0


def _measure(size: Size) -> None:
    console, started = _console(), time.monotonic()
    with contextlib.ExitStack() as contexts:
        ours = contexts.enter_context(new_system())
        baseline = contexts.enter_context(new_system(baseline=True))
        measured = measure(
            ours, baseline, size, notify=lambda news: console.print(news, highlight=False)
        )

    show(console, measured)
    console.print(
        f"The benchmark took {time.monotonic() - started:.0f} s. "
        f"All results are in {write(measured)}",
        highlight=False,
    )


def _measure_growth(options: argparse.Namespace) -> None:
    console, started = _console(), time.monotonic()
    size = GrowthSize(
        rounds=options.rounds,
        history=options.history,
        backlog=options.backlog,
        orders=options.orders,
    )

    with contextlib.ExitStack() as contexts:
        empty = contexts.enter_context(new_system())
        old = contexts.enter_context(new_system())
        growth = measure_growth(
            empty, old, size, notify=lambda news: console.print(news, highlight=False)
        )

    show_growth(console, growth)
    path = write_growth(growth)
    console.print(
        f"The benchmark took {time.monotonic() - started:.0f} s. All results are in {path}",
        highlight=False,
    )


def _size(options: argparse.Namespace) -> Size:
    return Size(
        rounds=options.rounds,
        orders=options.orders,
        naive_orders=options.naive_orders,
        steady_seconds=options.seconds,
    )


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, NARROWEST))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks",
        description="Measure throughput, latency and CPU of sagas, and compare with baselines.",
    )
    parser.add_argument(
        "--rounds", type=int, default=Size.rounds, help="number of interleaved rounds (%(default)s)"
    )
    parser.add_argument(
        "--orders",
        type=int,
        default=Size.orders,
        help="orders in each run of the service (%(default)s)",
    )
    parser.add_argument(
        "--naive-orders",
        type=int,
        default=Size.naive_orders,
        help="orders in each run of the naive chain (%(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=Size.steady_seconds,
        help="duration of the run at a fixed rate (%(default)s)",
    )
    parser.add_argument(
        "--growth",
        action="store_true",
        help="measure the effect of a long history and of a backlog instead",
    )
    parser.add_argument(
        "--history",
        type=int,
        default=1_000_000,
        help="finished orders in the database, with --growth (%(default)s)",
    )
    parser.add_argument(
        "--backlog",
        type=int,
        default=100_000,
        help="orders in the backlog, with --growth (%(default)s)",
    )

    return parser


if __name__ == "__main__":
    sys.exit(main())
