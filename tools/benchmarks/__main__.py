"""The command line: `python -m tools.benchmarks`."""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from tools.benchmarks.ground import new_shop
from tools.benchmarks.growth import GrowthSize, measure_growth
from tools.benchmarks.report import show, show_growth, write, write_growth
from tools.benchmarks.rounds import Size, measure
from tools.local.errors import LocalError
from tools.local.signals import stop_in_order

NARROWEST = 110


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; print and write what came of it."""
    given = _parser().parse_args(arguments)
    stop_in_order()
    try:
        if given.growth:
            _measure_growth(given)
        else:
            _measure(_size(given))
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _measure(size: Size) -> None:
    console, started = _console(), time.monotonic()
    with contextlib.ExitStack() as leaving:
        ours = leaving.enter_context(new_shop())
        plain = leaving.enter_context(new_shop(plain=True))
        measured = measure(ours, plain, size, say=lambda news: console.print(news, highlight=False))
    show(console, measured)
    console.print(
        f"{time.monotonic() - started:.0f} s in all. Everything measured: {write(measured)}",
        highlight=False,
    )


def _measure_growth(given: argparse.Namespace) -> None:
    console, started = _console(), time.monotonic()
    size = GrowthSize(
        rounds=given.rounds, history=given.history, backlog=given.backlog, orders=given.orders
    )
    with contextlib.ExitStack() as leaving:
        empty = leaving.enter_context(new_shop())
        old = leaving.enter_context(new_shop())
        growth = measure_growth(
            empty, old, size, say=lambda news: console.print(news, highlight=False)
        )
    show_growth(console, growth)
    path = write_growth(growth)
    console.print(
        f"{time.monotonic() - started:.0f} s in all. Everything measured: {path}", highlight=False
    )


def _size(given: argparse.Namespace) -> Size:
    return Size(
        rounds=given.rounds,
        orders=given.orders,
        naive_orders=given.naive_orders,
        steady_seconds=given.seconds,
    )


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, NARROWEST))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks", description="How fast sagas end, beside baselines."
    )
    parser.add_argument(
        "--rounds", type=int, default=Size.rounds, help="of every run, interleaved (%(default)s)"
    )
    parser.add_argument(
        "--orders", type=int, default=Size.orders, help="in each run of ours (%(default)s)"
    )
    parser.add_argument(
        "--naive-orders",
        type=int,
        default=Size.naive_orders,
        help="in each run of the naive chain (%(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=Size.steady_seconds,
        help="of orders at a fixed rate (%(default)s)",
    )
    parser.add_argument(
        "--growth", action="store_true", help="measure a long history and a backlog instead"
    )
    parser.add_argument(
        "--history",
        type=int,
        default=1_000_000,
        help="finished orders, with --growth (%(default)s)",
    )
    parser.add_argument(
        "--backlog", type=int, default=100_000, help="orders of the backlog (%(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
