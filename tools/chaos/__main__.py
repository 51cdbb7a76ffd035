"""The command line: `python -m tools.chaos --orders 10000 --kills 500 --flushalls 20 --seed 1`."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from tools.chaos.checks import END_SECONDS
from tools.chaos.isolated_stack import isolated_stack, new_run_dir
from tools.chaos.provider_faults import DEFAULT, ProviderBehaviour
from tools.chaos.report import as_json, progress_of, show
from tools.chaos.soak import EPISODE_SECONDS, Soak, SoakOptions, SoakResult
from tools.local.consoles import wide_console
from tools.local.errors import LocalError
from tools.local.gateway import GATEWAY
from tools.local.signals import stop_in_order

# Default for --open: a fifth of all orders, within these bounds.
FEWEST_OPEN, MOST_OPEN = 50, 400


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; return 0 if every check passed, else 1."""
    given = _parser().parse_args(arguments)
    options = SoakOptions(
        orders=given.orders,
        kills=given.kills,
        flushalls=given.flushalls,
        bad_releases=given.bad_releases,
        deployments=given.deployments,
        episode_seconds=given.episode_seconds,
        seed=given.seed,
        most_open=given.open or max(FEWEST_OPEN, min(MOST_OPEN, given.orders // 5)),
        patience=given.patience,
        provider=ProviderBehaviour(
            call_ms=given.call_ms, hanging=given.hanging, errors=given.errors
        ),
    )
    if options.provider != DEFAULT:
        os.environ[GATEWAY] = "stripe"
    stop_in_order()

    try:
        return _soak(options, json=given.json)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _soak(options: SoakOptions, *, json: bool) -> int:
    console = wide_console(to_stderr=json)
    run_dir, started = new_run_dir(), time.monotonic()
    console.print(
        f"Placing {options.orders:,} orders while killing {options.kills:,} processes, emptying "
        f"the broker {options.flushalls:,} times, running {options.bad_releases:,} bad releases "
        f"and deploying {options.deployments:,} times (seed {options.seed}). Logs: {run_dir.logs}",
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
        f"Seed {options.seed}: {result.orders:,} orders, {result.injected.total():,} faults, "
        f"{result.episodes.total():,} bad releases and deployments. "
        f"{result.needed_attention:,} orders needed attention at some time. "
        f"The last order ended {result.seconds_to_the_end:.1f} s after the last fault. "
        f"The run took {seconds:.0f} s."
    )
    if not result.violations:
        return (
            f"[bold green]PASSED. {summary} Every order ended as it had to, and "
            "every invariant holds."
        )

    return (
        f"[bold red]FAILED. {summary} {result.open:,} orders have not ended, and the checks found "
        f"{len(result.violations):,} violations. The logs are kept."
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
        "--bad-releases",
        type=_count,
        default=12,
        metavar="N",
        help="times to take away a column, a grant or ids, or to run a worker that lacks a step "
        "(%(default)s)",
    )
    parser.add_argument(
        "--deployments",
        type=_count,
        default=2,
        metavar="N",
        help="times to deploy another release, with the workers of both on one queue (%(default)s)",
    )
    parser.add_argument(
        "--episode-seconds",
        type=float,
        default=EPISODE_SECONDS,
        metavar="SECONDS",
        help="the longest time of a bad release (%(default)s)",
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
    _add_provider_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON, everything else to stderr"
    )

    return parser


def _add_provider_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the payment sandbox. Each of them starts it."""
    parser.add_argument(
        "--call-ms",
        type=_count,
        default=0,
        metavar="MS",
        help="charge at the payment sandbox, where a call without a fault takes this much longer",
    )
    effects = {"hanging": "leave without an answer for 20 s", "errors": "answer with a 500"}
    for name, effect in effects.items():
        parser.add_argument(
            f"--{name}",
            type=_percentage,
            default=0.0,
            metavar="PERCENT",
            help=f"charge at the payment sandbox, and {effect} this percentage of its calls",
        )


def _percentage(given: str) -> float:
    share = float(given)
    if not 0 <= share <= 100:
        raise argparse.ArgumentTypeError(f"{given} is no percentage. Give 0 to 100.")
    return share


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
