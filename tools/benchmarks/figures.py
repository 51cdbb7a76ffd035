"""Compute figures from rounds: the median and range of each value and of each ratio.

A ratio compares two runs of the same round.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.benchmarks.growth import Growth
from tools.benchmarks.measurement import Measurement, Round
from tools.benchmarks.verdicts import Figure, Verdict, figure_of, verdict_on

__all__ = ["TARGETS", "Target", "absolute", "judge", "judge_growth"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A ratio, or another value of a round, with a lower or an upper limit."""

    name: str
    unit: str = "×"
    ratio: Callable[[Round], float]
    at_least: float | None = None
    at_most: float | None = None


ABSOLUTE: Sequence[tuple[str, str, Callable[[Round], float]]] = (
    ("Draining", "sagas/s", lambda one: one.drained.rate),
    ("Live, four threads placing", "sagas/s", lambda one: one.live.rate),
    ("Draining, 10 % compensated", "sagas/s", lambda one: one.drained_undone.rate),
    ("Live, 10 % compensated", "sagas/s", lambda one: one.live_undone.rate),
    ("Bare SQL", "sagas/s", lambda one: one.bare.rate),
    ("Bare SQL by pgbench", "sagas/s", lambda one: one.reference),
    ("Draining ÷ pgbench", "×", lambda one: one.drained.rate / one.reference),
    ("Naive chain, draining", "sagas/s", lambda one: one.naive_drained.rate),
    ("Naive chain, live", "sagas/s", lambda one: one.naive_live.rate),
    ("CPU, draining", "s per 1,000", lambda one: one.drained.cpu_total),
    ("CPU, live with placing", "s per 1,000", lambda one: one.live.cpu_total),
    ("CPU, bare SQL", "s per 1,000", lambda one: one.bare.cpu_total),
    ("CPU, naive chain, draining", "s per 1,000", lambda one: one.naive_drained.cpu_total),
    ("CPU, naive chain, live", "s per 1,000", lambda one: one.naive_live.cpu_total),
    ("POST to final status at 25/s, p50", "ms", lambda one: one.steady.p50),
    ("POST to final status at 25/s, p99", "ms", lambda one: one.steady.p99),
    ("Naive chain at 25/s, p50", "ms", lambda one: one.naive_steady.p50),
    ("Naive chain at 25/s, p99", "ms", lambda one: one.naive_steady.p99),
    ("Naive chain at 25/s, CPU of an order", "ms", lambda one: one.naive_steady.cpu_milliseconds),
    ("API alone", "POSTs/s", lambda one: one.api.rate),
    ("API alone, p50", "ms", lambda one: one.api.p50),
    ("API alone, p99", "ms", lambda one: one.api.p99),
    ("Bare DRF view", "POSTs/s", lambda one: one.bare_view.rate),
)

TARGETS: Sequence[Target] = (
    Target(
        name="Draining ÷ bare SQL", at_least=1.0, ratio=lambda one: one.drained.rate / one.bare.rate
    ),
    Target(
        name="Draining ÷ naive",
        at_least=12,
        ratio=lambda one: one.drained.rate / one.naive_drained.rate,
    ),
    Target(name="Live ÷ bare SQL", at_least=0.5, ratio=lambda one: one.live.rate / one.bare.rate),
    Target(name="Live ÷ naive", at_least=10, ratio=lambda one: one.live.rate / one.naive_live.rate),
    Target(
        name="Draining, 10 % compensated ÷ none",
        at_least=0.9,
        ratio=lambda one: one.drained_undone.rate / one.drained.rate,
    ),
    Target(
        name="Live, 10 % compensated ÷ none",
        at_least=0.8,
        ratio=lambda one: one.live_undone.rate / one.live.rate,
    ),
    Target(
        name="CPU, draining ÷ naive",
        at_most=0.08,
        ratio=lambda one: one.drained.cpu_total / one.naive_drained.cpu_total,
    ),
    Target(
        name="CPU, live ÷ naive",
        at_most=0.15,
        ratio=lambda one: one.live.cpu_total / one.naive_live.cpu_total,
    ),
    Target(
        name="p50 at 25/s ÷ naive",
        at_most=1.0,
        ratio=lambda one: one.steady.p50 / one.naive_steady.p50,
    ),
    Target(
        name="p99 at 25/s ÷ naive",
        at_most=2.0,
        ratio=lambda one: one.steady.p99 / one.naive_steady.p99,
    ),
    Target(
        name="CPU of an order at 25/s",
        unit="ms",
        at_most=26,
        ratio=lambda one: one.steady.cpu_milliseconds,
    ),
    Target(
        name="API ÷ bare DRF view",
        at_least=0.7,
        ratio=lambda one: one.api.rate / one.bare_view.rate,
    ),
)


def absolute(measured: Measurement) -> list[Figure]:
    """Return the absolute figures. They hold only for this machine at this time."""
    return [figure_of(name, unit, map(value, measured.rounds)) for name, unit, value in ABSOLUTE]


def judge(measured: Measurement) -> list[Verdict]:
    """Return each ratio, and whether its median meets the target."""
    return [
        verdict_on(
            figure_of(target.name, target.unit, map(target.ratio, measured.rounds)),
            at_least=target.at_least,
            at_most=target.at_most,
        )
        for target in TARGETS
    ]


def judge_growth(growth: Growth) -> list[Verdict]:
    """Return the throughput with a history, and with a backlog, relative to an empty system."""
    kept = [old.rate / empty.rate for old, empty in zip(growth.old, growth.empty, strict=True)]
    figures = [figure_of(f"{growth.size.history:,} finished orders ÷ none", "×", iter(kept))]

    if growth.backlog:
        empty = statistics.median(one.rate for one in growth.empty)
        figures.append(
            figure_of(
                f"A backlog of {growth.size.backlog:,} ÷ a short one",
                "×",
                iter([growth.backlog.rate / empty]),
            )
        )

    return [verdict_on(figure, at_least=0.9) for figure in figures]
