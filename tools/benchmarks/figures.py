"""Compute figures from rounds: the median and range of each value and of each ratio.

A ratio compares two runs of the same round.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tools.benchmarks.growth import Growth
from tools.benchmarks.measurement import Measurement, Round

__all__ = ["TARGETS", "Figure", "Target", "Verdict", "absolute", "judge", "judge_growth"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The median, minimum and maximum over the rounds."""

    name: str
    unit: str
    median: float
    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Target:
    """A ratio with a lower or an upper limit."""

    name: str
    ratio: Callable[[Round], float]
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A measured ratio, its target, and whether it meets the target."""

    figure: Figure
    target: str
    met: bool


ABSOLUTE: Sequence[tuple[str, str, Callable[[Round], float]]] = (
    ("Draining", "sagas/s", lambda one: one.drained.rate),
    ("Live, four threads placing", "sagas/s", lambda one: one.live.rate),
    ("Draining, 10 % compensated", "sagas/s", lambda one: one.drained_undone.rate),
    ("Live, 10 % compensated", "sagas/s", lambda one: one.live_undone.rate),
    ("Bare SQL", "sagas/s", lambda one: one.bare.rate),
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
    Target(name="Live ÷ naive", at_least=8, ratio=lambda one: one.live.rate / one.naive_live.rate),
    Target(
        name="Draining, 10 % compensated ÷ none",
        at_least=0.8,
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
        at_most=1.2,
        ratio=lambda one: one.steady.p50 / one.naive_steady.p50,
    ),
    Target(
        name="p99 at 25/s ÷ naive",
        at_most=2.0,
        ratio=lambda one: one.steady.p99 / one.naive_steady.p99,
    ),
    Target(
        name="API ÷ bare DRF view",
        at_least=0.7,
        ratio=lambda one: one.api.rate / one.bare_view.rate,
    ),
)


def absolute(measured: Measurement) -> list[Figure]:
    """Return the absolute figures. They hold only for this machine at this time."""
    return [_figure(name, unit, map(value, measured.rounds)) for name, unit, value in ABSOLUTE]


def judge(measured: Measurement) -> list[Verdict]:
    """Return each ratio, and whether its median meets the target."""
    verdicts = []
    for target in TARGETS:
        figure = _figure(target.name, "×", map(target.ratio, measured.rounds))
        if target.at_least is not None:
            verdicts.append(
                Verdict(
                    figure=figure,
                    target=f"≥ {target.at_least:g}",
                    met=figure.median >= target.at_least,
                )
            )
        elif target.at_most is not None:
            verdicts.append(
                Verdict(
                    figure=figure,
                    target=f"≤ {target.at_most:g}",
                    met=figure.median <= target.at_most,
                )
            )

    return verdicts


def judge_growth(growth: Growth) -> list[Verdict]:
    """Return the throughput with a history, and with a backlog, relative to an empty system."""
    kept = [old.rate / empty.rate for old, empty in zip(growth.old, growth.empty, strict=True)]
    figures = [_figure(f"{growth.size.history:,} finished orders ÷ none", "×", iter(kept))]

    if growth.backlog:
        empty = statistics.median(one.rate for one in growth.empty)
        figures.append(
            _figure(
                f"A backlog of {growth.size.backlog:,} ÷ a short one",
                "×",
                iter([growth.backlog.rate / empty]),
            )
        )

    return [Verdict(figure=figure, target="≥ 0.9", met=figure.median >= 0.9) for figure in figures]


def _figure(name: str, unit: str, values: Iterable[float]) -> Figure:
    found = list(values)
    return Figure(
        name=name, unit=unit, median=statistics.median(found), least=min(found), most=max(found)
    )
