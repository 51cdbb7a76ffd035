"""Events: typed facts that a step publishes, named in the past tense.

A reader of an event ignores fields that it does not know.
"""

from datetime import datetime
from typing import Any, ClassVar

import msgspec

__all__ = [
    "NEEDS_ATTENTION",
    "ON_HOLD",
    "WAITS_UNTIL",
    "Event",
    "NeedsAttention",
    "Notice",
    "OnHold",
    "Refusal",
    "WaitNotice",
    "is_notice",
]

NEEDS_ATTENTION = "saga.needs_attention"
ON_HOLD = "saga.on_hold"

# The field of every `WaitNotice`, by which the saga's home recognises an agreed wait.
WAITS_UNTIL = "waits_until"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact, published in the transaction that made it true. `type` is its name on the wire."""

    type: ClassVar[str]

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


class NeedsAttention(Notice, frozen=True, kw_only=True):
    """A step that may not be given up keeps failing. It is tried again, but needs a person.

    The error stays in the inbox, which only operators read; clients read the timeline.
    """

    type: ClassVar[str] = NEEDS_ATTENTION

    step: str


class OnHold(Notice, frozen=True, kw_only=True):
    """A step waits, because an operator has put it or its saga on hold.

    The operator's name and reason stay in the hold, which only operators read.
    """

    type: ClassVar[str] = ON_HOLD

    step: str


def is_notice(type_: str) -> bool:
    """Return whether events of this type are for the timeline only."""
    return type_ in _types(Notice)


def _types(base: type[Event]) -> set[str]:
    """Return the types of all events below `base`. An abstract event has no type of its own."""
    subclasses = base.__subclasses__()
    own = {subclass.type for subclass in subclasses if hasattr(subclass, "type")}
    return own.union(*(_types(subclass) for subclass in subclasses))
