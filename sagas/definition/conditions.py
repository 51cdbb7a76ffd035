"""Conditions: which steps a saga has, decided once, when it starts, by its starting event.

A condition is a function of that event. It must depend on nothing else, because the plan that
follows from it is stored with the saga and travels in its messages.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple, TypeAlias

__all__ = ["MOST_CONDITIONS", "Condition", "absent_steps", "combinations", "distinct"]

Condition: TypeAlias = Callable[[Any], bool]

# The most conditions of a saga. At start, every combination of their answers is checked.
MOST_CONDITIONS = 6


class Decision(NamedTuple):
    """A condition, and the steps that it decides about."""

    condition: Condition
    steps: frozenset[str]


def distinct(conditions: Mapping[str, Condition]) -> list[Decision]:
    """Return each condition once. Steps with the same condition are decided about together."""
    steps_of: dict[int, set[str]] = {}
    for step, condition in conditions.items():
        steps_of.setdefault(id(condition), set()).add(step)
    by_id = {id(condition): condition for condition in conditions.values()}
    return [Decision(by_id[key], frozenset(steps)) for key, steps in steps_of.items()]


def combinations(conditions: Mapping[str, Condition]) -> Iterator[frozenset[str]]:
    """Yield the absent steps for each combination of answers; first for that with all steps.

    Of more than `MOST_CONDITIONS` conditions, yield only that first one.
    """
    decisions = distinct(conditions)
    if len(decisions) > MOST_CONDITIONS:
        yield frozenset()
        return
    for answers in product((True, False), repeat=len(decisions)):
        absent = (each.steps for each, holds in zip(decisions, answers, strict=True) if not holds)
        yield frozenset[str]().union(*absent)


def absent_steps(saga: str, conditions: Mapping[str, Condition], event: Any) -> frozenset[str]:
    """Return the steps whose condition does not hold for an event.

    Raises TypeError if a condition raises, or if its answer is no bool.
    """
    decisions = distinct(conditions)
    absent = (each.steps for each in decisions if not _holds(saga, each, event))
    return frozenset[str]().union(*absent)


def _holds(saga: str, decision: Decision, event: Any) -> bool:
    steps = ", ".join(sorted(decision.steps))
    where = f"The condition of {steps} in saga {saga!r}"
    try:
        answer: object = decision.condition(event)
    except Exception as error:
        raise TypeError(f"{where} raised {error!r} for {event!r}.") from error

    if not isinstance(answer, bool):
        raise TypeError(f"{where} must return True or False, but returned {answer!r}.")
    return answer
