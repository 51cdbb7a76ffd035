"""Checks of timers: their time, their event, and the deadline of their saga."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sagas.checks.findings import Finding
from sagas.definition import handlers
from sagas.definition.events import Event, Notice, Refusal
from sagas.definition.plan import Saga
from sagas.definition.waits import LONGEST_TIMER, TimerRule

__all__ = ["declarations", "too_long"]


def declarations() -> Iterator[Finding]:
    """Yield the faults of every timer that this process registers."""
    for name in handlers.names():
        definition = handlers.definition(name)
        if definition is not None and definition.timer is not None:
            yield from _declaration(name, definition.timer)


def too_long(saga: Saga) -> Iterator[Finding]:
    """Yield a fault if the timers before the pivot last at least until the saga's deadline."""
    if not isinstance(saga.deadline, timedelta):
        return
    before = [stage for stage in saga.plan.stages if saga.plan.refusable(stage[0].name)]
    # The timers of one group run at the same time.
    longest = (max(_length(step.name) for step in stage) for stage in before)
    total = sum(longest, timedelta(0))
    if total >= saga.deadline > timedelta(0):
        yield Finding(
            "sagas.E098",
            f"Saga {saga.name!r} has the deadline {saga.deadline}, but its timers up to the pivot "
            f"last {total}.",
            "Give it a later deadline, or shorter timers. Otherwise each of its sagas is undone.",
        )


def _declaration(name: str, rule: TimerRule) -> Iterator[Finding]:
    after, until, event = _as_given(rule)
    if (after is None) == (until is None) or not (until is None or callable(until)):
        yield Finding(
            "sagas.E095",
            f"The timer {name!r} has after={after!r} and until={until!r}.",
            "Pass either after= with a timedelta, or until= with a function of the delivery.",
        )
    elif until is None and not _is_length(after):
        yield Finding(
            "sagas.E096",
            f"The timer {name!r} waits {after!r}.",
            "Pass after= with a timedelta above zero, and of at most 100 years.",
        )
    if not isinstance(event, Event) or isinstance(event, Refusal | Notice):
        yield Finding(
            "sagas.E097",
            f"The timer {name!r} ends with {event!r}.",
            "Pass event= with an Event that is no Refusal and no Notice, because the saga goes on.",
        )


def _length(step: str) -> timedelta:
    """Return how long a timer waits, as far as that is known; zero for any other step."""
    definition = handlers.definition(step)
    after = definition.timer.after if definition and definition.timer else None
    return after if after is not None and _is_length(after) else timedelta(0)


def _is_length(found: Any) -> bool:
    return isinstance(found, timedelta) and timedelta(0) < found <= LONGEST_TIMER


def _as_given(rule: TimerRule) -> tuple[Any, Any, Any]:
    """Return the arguments of a registration, which may have any type."""
    return rule.after, rule.until, rule.event
