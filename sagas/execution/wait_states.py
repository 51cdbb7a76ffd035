"""The states of waits and timers, which the first run of their step begins."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from sagas.definition.handlers import Delivery, StepDefinition
from sagas.definition.waits import LONGEST_TIMER, TimerRule
from sagas.storage import signals
from sagas.storage.registry import Service

__all__ = ["with_wait_states"]


def with_wait_states(
    service: Service, definition: StepDefinition, deliveries: Sequence[Delivery[Any]]
) -> Sequence[Delivery[Any]]:
    """Return the deliveries of a wait or a timer with its state; its first run begins it.

    The rows are claimed by the caller. Other steps cost no statement.
    """
    wait, timer = definition.wait, definition.timer
    if (wait is None and timer is None) or not deliveries:
        return deliveries

    step = definition.name
    expires = wait.expires if wait else timer.after if timer else None
    states = signals.begin(service, step, [each.saga for each in deliveries], expires=expires)
    if timer and timer.until:
        new = [each for each in deliveries if states[each.saga].expires_at is None]
        times = {each.saga: _time_of(step, timer, each) for each in new}
        states |= signals.begin_until(service, step, times) if times else {}
    return [replace(each, wait=states[each.saga]) for each in deliveries]


def _time_of(step: str, rule: TimerRule, delivery: Delivery[Any]) -> datetime:
    """Return the time of a timer. Raises `TypeError` without a time zone, and `ValueError`."""
    found: Any = rule.until(delivery) if rule.until else None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise TypeError(
            f"until= of the timer {step} must return a datetime with a time zone, but returned "
            f"{found!r}."
        )
    if found - datetime.now(UTC) > LONGEST_TIMER:
        raise ValueError(f"The timer {step} would wait until {found}, more than 100 years.")
    return found
