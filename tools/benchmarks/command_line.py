"""The options of the benchmark: which parts, and how large."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.benchmarks.measurement import Size

__all__ = ["PARTS", "Options", "parse"]

PARTS: Mapping[str, str] = {
    "figures": "Throughput, latency and CPU, beside bare SQL and a naive chain",
    "providers": "Beside providers that take 50, 300 and 1,500 ms a call",
    "recovery": "After processes were killed, and messages lost",
    "outage": "While the provider hangs, fails and recovers",
    "growth": "A long history, and a backlog",
}
DEFAULT = [part for part in PARTS if part != "growth"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The chosen parts in order, and their sizes.

    `full`: the parts `providers`, `recovery` and `outage` run longer, and more often.
    """

    parts: Sequence[str]
    full: bool
    size: Size
    history: int
    backlog: int


def parse(arguments: Sequence[str] | None) -> Options:
    """Return the options of a command line."""
    given = _parser().parse_args(arguments)
    size = Size(
        rounds=given.rounds,
        orders=given.orders,
        naive_orders=given.naive_orders,
        steady_seconds=given.seconds,
    )
    parts = ["growth"] if given.growth else [part for part in PARTS if part in given.only]
    return Options(
        parts=parts, full=given.full, size=size, history=given.history, backlog=given.backlog
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks",
        description="Measure throughput, latency and CPU of sagas, and compare with baselines.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--only",
        type=_parts,
        default=DEFAULT,
        metavar="PARTS",
        help=f"measure only these parts, separated by commas: {', '.join(PARTS)}",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="measure the parts providers, recovery and outage at full size: more than an hour",
    )
    parser.add_argument("--growth", action="store_true", help="the same as --only growth")

    counts = (
        ("--rounds", Size.rounds, "number of interleaved rounds of the figures"),
        ("--orders", Size.orders, "orders in each run of the figures"),
        ("--naive-orders", Size.naive_orders, "orders in each run of the naive chain"),
        ("--history", 1_000_000, "finished orders in the database, for the growth"),
        ("--backlog", 100_000, "orders in the backlog, for the growth"),
    )
    for name, default, help_text in counts:
        parser.add_argument(name, type=int, default=default, help=help_text)

    parser.add_argument(
        "--seconds", type=float, default=Size.steady_seconds, help="duration of the run at 25/s"
    )
    return parser


def _parts(given: str) -> list[str]:
    chosen = given.split(",")
    for part in chosen:
        if part not in PARTS:
            raise argparse.ArgumentTypeError(
                f"Unknown part: {part}. Choose from {', '.join(PARTS)}."
            )
    return chosen
