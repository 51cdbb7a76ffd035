"""The findings of a probe: proved, a fault, or unknown."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

import msgspec

__all__ = ["Finding", "Job", "Options", "State", "fault", "proved", "unknown"]


class State(StrEnum):
    """Whether a property holds. A probe that could not look says `unknown`, never `proved`."""

    PROVED = "proved"
    FAULT = "fault"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True):
    """One line of the report: `text` is the finding, `remedy` the way to mend it."""

    state: State
    text: str
    remedy: str = ""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that the caller of `doctor` knows and this process does not.

    `url` is the public address of the service. `grace_seconds` is the time between the service
    manager's request to stop and its kill. `exposed` tells whether other machines can reach the
    service. An unknown `url` or time is None.
    """

    url: str | None = None
    grace_seconds: float | None = None
    exposed: bool = False


class Job(NamedTuple):
    """A part of a probe that runs on its own, within a time limit. `subject` names its object."""

    subject: str
    run: Callable[[], Iterable[Finding]]


def proved(text: str) -> Finding:
    """Return a finding that a property holds."""
    return Finding(State.PROVED, text)


def fault(text: str, remedy: str) -> Finding:
    """Return a finding that a property does not hold, and the way to mend it."""
    return Finding(State.FAULT, text, remedy)


def unknown(text: str, remedy: str = "") -> Finding:
    """Return a finding that a property could not be looked up."""
    return Finding(State.UNKNOWN, text, remedy)
