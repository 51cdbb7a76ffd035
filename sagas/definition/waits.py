"""The rules of waits and timers, and the signal as the inbox row of its wait keeps it."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from sagas.definition.events import Event, Refusal

__all__ = [
    "LONGEST_TIMER",
    "Signal",
    "TimerRule",
    "WaitRule",
    "WaitState",
    "WrongSignal",
    "closing_step",
]

# The last part of the name of the step that closes a wait.
CLOSE = "close"

# A row that is due in the year 9999 counts as parked. No timer comes near it.
LONGEST_TIMER = timedelta(days=36_500)


class WrongSignal(ValueError):
    """The wait takes no such event, or the fields of the event are wrong. The text says which."""


class Signal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a wait: the type and the fields of its event, and the sender of it.

    `by` is a user name, or the name of a system. `why` is the reason of a person. `at` is the time
    at which it came, by the clock of the service's database.
    """

    type: str
    data: Mapping[str, Any]
    by: str
    why: str = ""
    at: datetime | None = None


class WaitState(msgspec.Struct, frozen=True, kw_only=True):
    """The signal that a wait has got, and the time at which it expires without one.

    A timer gets no signal, and its time comes at `expires_at`. `seconds_left` until then is by the
    clock of the service's database; 0 if there is no such time yet.
    """

    signal: Signal | None
    expires_at: datetime | None
    seconds_left: float


class WaitRule(msgspec.Struct, frozen=True, kw_only=True):
    """The events that answer a wait, how long it waits for them, and the event of its expiry."""

    answer: type[Event]
    expires: timedelta
    expired: Event
    refusal: type[Refusal] | None = None

    def types(self) -> dict[str, type[Event]]:
        """Return the classes of the answers by the type of their events."""
        return {cls.type: cls for cls in (self.answer, self.refusal) if cls is not None}

    def event(self, type_: str, data: Mapping[str, Any]) -> Event:
        """Return the event of an answer. A field that the class does not know is ignored.

        Raises `WrongSignal`.
        """
        types = self.types()
        if type_ not in types:
            raise WrongSignal(f"The wait takes no {type_!r}, only: {', '.join(types)}.")
        try:
            return msgspec.convert(data, types[type_], strict=True)
        except msgspec.ValidationError as error:
            raise WrongSignal(f"{type_!r} has a wrong field: {error}.") from error

    def require(self, event: Event) -> None:
        """Raise `WrongSignal` unless the event answers the wait, and each field has its type.

        A worker reads the fields from JSON in PostgreSQL. JSON has no infinite number, and
        PostgreSQL stores no NUL.
        """
        if type(event) not in self.types().values():
            raise WrongSignal(
                f"The wait takes no {type(event).__name__}, only: "
                f"{', '.join(cls.__name__ for cls in self.types().values())}."
            )
        self.event(event.type, _as_stored(event))


class TimerRule(msgspec.Struct, frozen=True, kw_only=True):
    """How long a timer waits, and the event when its time has come.

    It waits `after` its message came, or `until` the time that a function of its delivery returns.
    """

    event: Event
    after: timedelta | None = None
    until: Callable[[Any], datetime] | None = None


def _as_stored(event: Event) -> dict[str, Any]:
    """Return the fields of an event as a worker reads them. Raises `WrongSignal` for a NUL."""
    encoded = msgspec.json.encode(event.facts())
    if b"\\u0000" in encoded.replace(rb"\\", b""):
        raise WrongSignal(f"{event.type!r} has a text with a NUL, which PostgreSQL cannot store.")
    stored: dict[str, Any] = msgspec.json.decode(encoded)
    return stored


def closing_step(wait: str) -> str:
    """Return the name of the step that closes a wait when its saga is compensated."""
    return f"{wait}.{CLOSE}"
