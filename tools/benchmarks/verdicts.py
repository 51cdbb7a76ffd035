"""A figure with its range, and the verdict whether it meets its target."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Figure", "Verdict", "figure_of", "verdict_on"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The median, minimum and maximum of several measurements."""

    name: str
    unit: str
    median: float
    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A measured figure, its target, and whether it meets the target."""

    figure: Figure
    target: str
    met: bool


def figure_of(name: str, unit: str, values: Iterable[float]) -> Figure:
    """Return the figure of at least one value."""
    found = list(values)
    return Figure(
        name=name, unit=unit, median=statistics.median(found), least=min(found), most=max(found)
    )


def verdict_on(
    figure: Figure,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    worst: bool = False,
) -> Verdict:
    """Compare the median, or the `worst` value, with one limit."""
    if at_least is not None:
        judged = figure.least if worst else figure.median
        return Verdict(figure=figure, target=f"≥ {at_least:g}", met=judged >= at_least)
    if at_most is not None:
        judged = figure.most if worst else figure.median
        return Verdict(figure=figure, target=f"≤ {at_most:g}", met=judged <= at_most)
    raise ValueError(f"{figure.name} has no target.")
