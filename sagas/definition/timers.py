"""Timers: steps that wait for a time, and then let their saga go on by themselves.

A timer is a wait that takes no signal, and whose expiry is the ordinary event.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from sagas.definition.events import Event, TimerElapsed, TimerFailed, WaitClosed, WaitsForTime
from sagas.definition.handlers import (
    AgreedWait,
    Delivery,
    NoContext,
    Outcome,
    context_of,
    one_by_one,
    register,
)
from sagas.definition.plan import Wait
from sagas.definition.signatures import Signature
from sagas.definition.waits import TimerRule, closing_step

__all__ = ["Timer", "timer"]


class Timer(Wait, frozen=True):
    """A step that waits for a time: `Timer("orders.cool_off")`. `sagas.timer` registers it.

    In the plan it is an ordinary step. Before the pivot, its undo closes it. `when` is a condition,
    as of a `Step`.
    """


def timer(
    name: str,
    *,
    after: timedelta | None = None,
    until: Callable[[Delivery[Any]], datetime] | None = None,
    event: Event | None = None,
    accepts: type[msgspec.Struct] | None = None,
) -> None:
    """Register a step that waits for a time, and the step that closes it on the way back.

        timer("orders.cool_off", after=timedelta(hours=1))
        timer("returns.remind", until=day_before_due, event=Reminded())

    The step is done `after` its message came, or at the time that `until` returns: a function of
    the `Delivery`, which is called once. That time has a time zone. If it is over, the step is done
    at once. `event` is then the event of the step (default: `saga.timer_elapsed`). `accepts` is the
    struct of the context, if `until` has no annotation. A saga that waits sends no message, counts
    no attempt, and raises no alarm. Raises TypeError as `action` does.
    """
    given = event if event is not None else TimerElapsed(step=name)
    rule = TimerRule(event=given, after=after, until=until)

    def elapsed(delivery: Delivery[Any]) -> Outcome:
        return _outcome(name, given, delivery)

    def closed(delivery: Delivery[NoContext]) -> Outcome:
        return WaitClosed(step=name)

    signature = Signature(context_of(name, until, accepts), batch=True)
    register(name, signature, TimerFailed, None, timer=rule)(one_by_one(elapsed))
    register(closing_step(name), Signature(NoContext, batch=True), None, None)(one_by_one(closed))


def _outcome(step: str, event: Event, delivery: Delivery[Any]) -> Outcome:
    state = delivery.wait
    if state is None or state.expires_at is None:
        raise LookupError(f"{step} is a timer, but its inbox row was not read.")
    if state.seconds_left <= 0:
        return event
    return AgreedWait(
        reason=f"Waits until {state.expires_at:%Y-%m-%d %H:%M:%S} UTC.",
        pause=state.seconds_left,
        notice=WaitsForTime(step=step, waits_until=state.expires_at),
    )
