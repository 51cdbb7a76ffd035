"""Events: typed facts that a step publishes, named in the past tense.

A reader of an event ignores fields that it does not know.
"""

from datetime import datetime
from functools import cache
from typing import Any, ClassVar

import msgspec

__all__ = [
    "DEADLINE",
    "NEEDS_ATTENTION",
    "ON_HOLD",
    "STEP_SKIPPED",
    "WAITS_UNTIL",
    "ChildClosed",
    "DeadlineMissed",
    "Event",
    "NeedsAttention",
    "Notice",
    "OnHold",
    "ParentUndone",
    "Refusal",
    "StepSkipped",
    "TimerElapsed",
    "TimerFailed",
    "WaitClosed",
    "WaitNotice",
    "WaitsForChild",
    "WaitsForRepair",
    "WaitsForSignal",
    "WaitsForTime",
    "is_notice",
    "is_refusal",
    "notice_types",
]

NEEDS_ATTENTION = "saga.needs_attention"
ON_HOLD = "saga.on_hold"

# The code of the failure of a saga that its deadline has undone.
DEADLINE = "deadline"

STEP_SKIPPED = "saga.step_skipped"

# The field of every `WaitNotice`, by which the saga's home recognises an agreed wait.
WAITS_UNTIL = "waits_until"


@cache
def _types(base: "type[Event]") -> frozenset[str]:
    """Return the types of all events below `base`. An abstract event has no type of its own."""
    subclasses = base.__subclasses__()
    own = {subclass.type for subclass in subclasses if hasattr(subclass, "type")}
    return frozenset(own.union(*map(_types, subclasses)))


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact, published in the transaction that made it true. `type` is its name on the wire."""

    type: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        """Forget the known types, because a class adds one."""
        super().__init_subclass__(**options)
        _types.cache_clear()

    def facts(self) -> dict[str, Any]:
        """Return the event's fields as JSON-ready data."""
        facts: dict[str, Any] = msgspec.to_builtins(self)
        return facts


class Refusal(Event, frozen=True, kw_only=True):
    """A step refuses, which is final: the saga is compensated from there.

    A refused step did nothing, so its own compensation is not run. If a refusal has `had_effect`,
    the step did something that its compensation must undo.

    `code` is stable, for programs. `detail` is a text for people. Clients see both, so neither may
    contain a secret.
    """

    type: ClassVar[str]
    had_effect: ClassVar[bool] = False

    code: str
    detail: str


class Notice(Event, frozen=True, kw_only=True):
    """An event for the timeline only: the saga does not move on because of it."""

    type: ClassVar[str]


class WaitNotice(Notice, frozen=True, kw_only=True):
    """The saga waits for a person or another system, as agreed, until `waits_until`.

    Until then, the saga has not stalled, and its waiting is no alarm.
    """

    type: ClassVar[str]

    waits_until: datetime


class NeedsAttention(Notice, frozen=True, kw_only=True, omit_defaults=True):
    """A step that may not be given up keeps failing. It is tried again, but needs a person.

    With the `reason` "deadline", the saga has missed its deadline after its pivot, which is then
    the `step`. The error stays in the inbox, which only operators read; clients read the timeline.
    """

    type: ClassVar[str] = NEEDS_ATTENTION

    step: str
    reason: str = ""


class DeadlineMissed(Refusal, frozen=True, kw_only=True):
    """The saga was not over by its deadline, so it is undone."""

    type: ClassVar[str] = "saga.deadline_missed"

    code: str = DEADLINE
    detail: str = "It was not completed in time."


class OnHold(Notice, frozen=True, kw_only=True):
    """A step waits, because it or its saga is on hold.

    The operator's name and reason stay in the hold, which only operators read.
    """

    type: ClassVar[str] = ON_HOLD

    step: str


class WaitsForRepair(WaitNotice, frozen=True, kw_only=True):
    """A step fails for several sagas, so this one waits and tries again. Nothing is counted."""

    type: ClassVar[str] = "saga.waits_for_repair"

    step: str


class StepSkipped(Event, frozen=True, kw_only=True):
    """An optional step is over without success. The saga goes on with the next step, or ends.

    `tries`: its failed attempts. `reason` is for clients. The error stays in the inbox, which only
    operators read.
    """

    type: ClassVar[str] = STEP_SKIPPED

    step: str
    tries: int
    reason: str


class WaitsForSignal(WaitNotice, frozen=True, kw_only=True):
    """A wait has begun. It expires at `waits_until` if no signal comes before."""

    type: ClassVar[str] = "saga.waits_for_signal"

    step: str


class WaitsForTime(WaitNotice, frozen=True, kw_only=True):
    """A timer has begun. Its step is done at `waits_until`."""

    type: ClassVar[str] = "saga.waits_for_time"

    step: str


class TimerElapsed(Event, frozen=True, kw_only=True):
    """The time of a timer has come. The saga goes on with the next step, or ends."""

    type: ClassVar[str] = "saga.timer_elapsed"

    step: str


class TimerFailed(Refusal, frozen=True, kw_only=True):
    """The time of a timer before the pivot could not be computed, so the saga is undone."""

    type: ClassVar[str] = "saga.timer_failed"


class WaitsForChild(WaitNotice, frozen=True, kw_only=True):
    """A step waits for the end of the saga `child`. It looks at it again at `waits_until`."""

    type: ClassVar[str] = "saga.waits_for_child"

    step: str
    child: str


class ChildClosed(Event, frozen=True, kw_only=True):
    """The saga is compensated. The child of a step was never started, or it is undone itself."""

    type: ClassVar[str] = "saga.child_closed"

    step: str


class ParentUndone(Refusal, frozen=True, kw_only=True):
    """The saga that started this one is compensated, so this one is cancelled."""

    type: ClassVar[str] = "saga.parent_undone"

    code: str = "parent_undone"
    detail: str = "The saga that started it is undone."


class WaitClosed(Event, frozen=True, kw_only=True):
    """The saga is compensated, so a wait takes no signal any more, and a timer is over."""

    type: ClassVar[str] = "saga.wait_closed"

    step: str


def is_notice(type_: str) -> bool:
    """Return whether events of this type are for the timeline only."""
    return type_ in notice_types()


def notice_types() -> frozenset[str]:
    """Return the types of all events that are for the timeline only."""
    return _types(Notice)


def is_refusal(type_: str) -> bool:
    """Return whether a step that writes an event of this type has refused."""
    return type_ in _types(Refusal)
