"""The command line: `python -m tools.chaos --orders 10000 --kills 500 --flushalls 20 --seed 1`."""

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from tools.chaos.ground import new_run_dir, own_ground
from tools.chaos.report import as_json, progress_of, show
from tools.chaos.soak import Outcome, Size, Soak
from tools.chaos.verdict import END_SECONDS
from tools.local.errors import LocalError
from tools.local.signals import stop_in_order

NARROWEST = 120
# Orders that are open at once, where the command line does not say: a fifth of all, within these
# bounds.
FEWEST_OPEN, MOST_OPEN = 50, 400


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; return 0 if every promise was kept, else 1."""
    given = _parser().parse_args(arguments)
    size = Size(
        orders=given.orders,
        kills=given.kills,
        flushalls=given.flushalls,
        seed=given.seed,
        most_open=given.open or max(FEWEST_OPEN, min(MOST_OPEN, given.orders // 5)),
        patience=given.patience,
    )
    stop_in_order()
    try:
        return _soak(size, json=given.json)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _soak(size: Size, *, json: bool) -> int:
    console = _console(to_stderr=json)
    run_dir, started = new_run_dir(), time.monotonic()
    console.print(
        f"Seed {size.seed}: {size.orders:,} orders, {size.kills:,} kills, {size.flushalls:,} FLUSHALLs. "
        f"Logs: {run_dir.logs}",
        highlight=False,
    )
    with own_ground(run_dir) as stack, progress_of(console, size) as progressed:
        outcome = Soak(stack, size, progressed=progressed).run()
    show(console, outcome)
    console.print(_verdict(outcome, seconds=time.monotonic() - started), highlight=False)
    if json:
        print(as_json(outcome))
    if not outcome.violations:
        run_dir.remove()
    return 1 if outcome.violations else 0


def _verdict(outcome: Outcome, *, seconds: float) -> str:
    size = outcome.size
    summary = (
        f"Seed {size.seed}: {outcome.orders:,} orders, {outcome.struck.total():,} faults; the last order ended "
        f"{outcome.seconds_to_the_end:.1f} s after the last fault. {seconds:.0f} s in all."
    )
    if not outcome.violations:
        return f"[bold green]{summary} Every promise was kept."
    return f"[bold red]{summary} {outcome.open:,} orders have not ended; {len(outcome.violations):,} violations."


def _console(*, to_stderr: bool) -> Console:
    console = Console(stderr=to_stderr)
    return (
        console
        if console.is_terminal
        else Console(stderr=to_stderr, width=max(console.width, NARROWEST))
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.chaos", description="Kill the whole system under load."
    )
    parser.add_argument(
        "--orders", type=_positive, default=10_000, help="orders to place (%(default)s)"
    )
    parser.add_argument("--kills", type=_count, default=500, help="processes to kill (%(default)s)")
    parser.add_argument(
        "--flushalls", type=_count, default=20, help="times to empty the broker (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="what orders and faults are drawn from (%(default)s)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=END_SECONDS,
        metavar="SECONDS",
        help="how long after the last fault every order must have ended (%(default)s)",
    )
    parser.add_argument(
        "--open",
        type=_positive,
        metavar="N",
        help="customers hold back while N orders are open (a fifth, at most 400)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the outcome as JSON, and the rest to stderr"
    )
    return parser


def _count(given: str) -> int:
    count = int(given)
    if count < 0:
        raise argparse.ArgumentTypeError(f"{count} is less than none.")
    return count


def _positive(given: str) -> int:
    count = _count(given)
    if not count:
        raise argparse.ArgumentTypeError("There is nothing to see without an order.")
    return count


if __name__ == "__main__":
    sys.exit(main())
