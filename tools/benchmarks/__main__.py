"""The command line: `python -m tools.benchmarks`."""

import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console

from tools.benchmarks.command_line import PARTS, Options, parse
from tools.benchmarks.parts import (
    measure_figures_part,
    measure_growth_part,
    measure_outage_part,
    measure_providers_part,
    measure_recovery_part,
)
from tools.local.consoles import wide_console
from tools.local.errors import LocalError
from tools.local.signals import stop_in_order

NARROWEST = 150

MEASURE: dict[str, Callable[[Console, Options], None]] = {
    "figures": measure_figures_part,
    "providers": measure_providers_part,
    "recovery": measure_recovery_part,
    "outage": measure_outage_part,
    "growth": measure_growth_part,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen parts, print the results, and write them to files."""
    options = parse(arguments)
    console = wide_console(narrowest=NARROWEST)
    stop_in_order()

    try:
        for part in options.parts:
            _measure(part, console, options)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130

    return 0


def _measure(part: str, console: Console, options: Options) -> None:
    started = time.monotonic()
    console.print(f"\n[bold]{PARTS[part]}", highlight=False)
    MEASURE[part](console, options)
    console.print(f"This part took {time.monotonic() - started:.0f} s.", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
