"""The command line of the drill: `python -m tools.benchmarks.outage --orders 10000`."""

import argparse
import sys
from collections.abc import Sequence

from tools.benchmarks.isolated_stack import new_system
from tools.benchmarks.outage.drill import FULL, OutageSize, run_outage
from tools.benchmarks.outage.report import Progress, show_outage
from tools.benchmarks.scenarios import SHORT_WARM_UP
from tools.local.consoles import wide_console
from tools.local.errors import LocalError
from tools.local.signals import stop_in_order

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a drill; return 1 if an order was lost or cancelled, else 0."""
    size, console = _size(arguments), wide_console()
    stop_in_order()
    console.print(
        f"Starting a system of its own. Then the payment provider hangs for "
        f"{size.hang_seconds:,.0f} s while {size.orders:,} orders come, answers 500 for "
        f"{size.error_seconds:,.0f} s, and recovers.",
        highlight=False,
    )

    try:
        with new_system(sandbox=True) as system:
            system.drain(SHORT_WARM_UP)
            outage = run_outage(system, size, notify=Progress(console))
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130

    show_outage(console, outage)
    return 1 if outage.lost or outage.cancelled else 0


def _size(arguments: Sequence[str] | None) -> OutageSize:
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks.outage",
        description="Let the payment provider hang, fail and recover, and watch the orders.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options = (
        ("--orders", int, FULL.orders, "orders that come while the provider hangs"),
        ("--hang-seconds", float, FULL.hang_seconds, "time for which every call hangs"),
        ("--error-seconds", float, FULL.error_seconds, "time for which every call gets a 500"),
        ("--call-seconds", float, FULL.call_seconds, "time of a call of the healthy provider"),
        (
            "--settle-seconds",
            float,
            FULL.settle_seconds,
            "time at the start, in which no call counts as a probe: several must fail first",
        ),
        ("--patience", float, FULL.patience, "time after which an open order counts as lost"),
        ("--pace-orders", int, FULL.pace_orders, "orders drained before, for comparison"),
    )
    for name, kind, default, help_text in options:
        parser.add_argument(name, type=kind, default=default, help=help_text)

    return OutageSize(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
