"""Events: what a step says happened. Named in the past tense, typed, and tolerant of fields they
do not know.
"""

from typing import Any, ClassVar

import msgspec

__all__ = [
    "NEEDS_ATTENTION",
    "ON_HOLD",
    "Event",
    "NeedsAttention",
    "Notice",
    "OnHold",
    "Refusal",
    "is_notice",
]

NEEDS_ATTENTION = "saga.needs_attention"
ON_HOLD = "saga.on_hold"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact, published with the change that made it true. `type` is its name on the wire."""

    type: ClassVar[str]

    def facts(self) -> dict[str, Any]:
        """Return the event's fields as JSON-ready data."""
        facts: dict[str, Any] = msgspec.to_builtins(self)
        return facts


class Refusal(Event, frozen=True, kw_only=True):
    """A step's definite no. Final: it sends the saga back over what was done before.

    `code` is stable and for programs, `detail` is for people; the client sees both, so neither
    holds a secret.
    """

    type: ClassVar[str]

    code: str
    detail: str


class Notice(Event, frozen=True, kw_only=True):
    """News of a step that is still under way: it is shown in the timeline, and carries the saga
    nowhere.
    """

    type: ClassVar[str]


class NeedsAttention(Notice, frozen=True, kw_only=True):
    """A step that may not be given up keeps failing; tries go on, but a person should look.

    The error itself stays in the inbox, for operators: clients read the timeline.
    """

    type: ClassVar[str] = NEEDS_ATTENTION

    step: str


class OnHold(Notice, frozen=True, kw_only=True):
    """A step is on hold, or its saga is; it waits until that is released. Who held it, and why,
    is for operators.
    """

    type: ClassVar[str] = ON_HOLD

    step: str


def is_notice(type_: str) -> bool:
    """Tell whether an event of this type carries its saga nowhere."""
    return type_ in _types(Notice)


def _types(base: type[Event]) -> set[str]:
    return {name for kind in base.__subclasses__() for name in (kind.type, *_types(kind))}
