"""The command line: `python -m tools.chaos --orders 10000 --kills 500 --flushalls 20 --seed 1`."""

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from tools.chaos.checks import END_SECONDS
from tools.chaos.isolated_stack import isolated_stack, new_run_dir
from tools.chaos.report import as_json, progress_of, show
from tools.chaos.soak import Soak, SoakOptions, SoakResult
from tools.local.errors import LocalError
from tools.local.signals import stop_in_order

NARROWEST = 120
# Default for --open: a fifth of all orders, within these bounds.
FEWEST_OPEN, MOST_OPEN = 50, 400


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; return 0 if every check passed, else 1."""
    given = _parser().parse_args(arguments)
    options = SoakOptions(
        orders=given.orders,
        kills=given.kills,
        flushalls=given.flushalls,
        seed=given.seed,
        most_open=given.open or max(FEWEST_OPEN, min(MOST_OPEN, given.orders // 5)),
        patience=given.patience,
    )
    stop_in_order()

    try:
        return _soak(options, json=given.json)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _soak(options: SoakOptions, *, json: bool) -> int:
    console = _console(to_stderr=json)
    run_dir, started = new_run_dir(), time.monotonic()
    console.print(
        f"Placing {options.orders:,} orders while killing {options.kills:,} processes and emptying "
        f"the broker {options.flushalls:,} times (seed {options.seed}). Logs: {run_dir.logs}",
        highlight=False,
    )
    with isolated_stack(run_dir) as stack, progress_of(console, options) as progressed:
        result = Soak(stack, options, progressed=progressed).run()

    show(console, result)
    console.print(_verdict(result, seconds=time.monotonic() - started), highlight=False)
    if json:
        print(as_json(result))
    if not result.violations:
        run_dir.remove()

    return 1 if result.violations else 0


def _verdict(result: SoakResult, *, seconds: float) -> str:
    options = result.size
    summary = (
        f"Seed {options.seed}: {result.orders:,} orders, {result.injected.total():,} faults. "
        f"The last order ended {result.seconds_to_the_end:.1f} s after the last fault. "
        f"The run took {seconds:.0f} s."
    )
    if not result.violations:
        return f"[bold green]PASSED. {summary} Every order ended and every invariant holds."

    return (
        f"[bold red]FAILED. {summary} {result.open:,} orders have not ended, and the checks found "
        f"{len(result.violations):,} violations. The logs are kept."
    )


def _console(*, to_stderr: bool) -> Console:
    console = Console(stderr=to_stderr)
    return (
        console
        if console.is_terminal
        else Console(stderr=to_stderr, width=max(console.width, NARROWEST))
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.chaos",
        description="Kill processes of the whole system under load, then check every order.",
    )
    parser.add_argument(
        "--orders", type=_positive, default=10_000, help="orders to place (%(default)s)"
    )
    parser.add_argument("--kills", type=_count, default=500, help="processes to kill (%(default)s)")
    parser.add_argument(
        "--flushalls", type=_count, default=20, help="times to empty the broker (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the random orders and faults (%(default)s)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=END_SECONDS,
        metavar="SECONDS",
        help="seconds after the last fault by which every order must end (%(default)s)",
    )
    parser.add_argument(
        "--open",
        type=_positive,
        metavar="N",
        help="place no further order while N are open (a fifth of all, at most 400)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON, everything else to stderr"
    )

    return parser


def _count(given: str) -> int:
    count = int(given)
    if count < 0:
        raise argparse.ArgumentTypeError(f"{count} is negative. Give 0 or more.")
    return count


def _positive(given: str) -> int:
    count = _count(given)
    if not count:
        raise argparse.ArgumentTypeError("0 is too few. Give 1 or more.")
    return count


if __name__ == "__main__":
    sys.exit(main())
