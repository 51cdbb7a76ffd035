"""Events of a saga in an operator's words, where the name of the event does not say enough.

A domain registers the words of its own events, when its app is ready.
"""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["event_words", "gave_nothing_back", "register_nothing_back", "register_words"]

NOTHING_BACK = "nothing to give back"

Detail = Mapping[str, Any]

# Each function gets the detail of the event.
WORDS: Mapping[str, Callable[[Detail], str]] = {
    "saga.needs_attention": lambda detail: (
        "missed its deadline after the pivot" if detail.get("reason") == "deadline" else ""
    ),
    "saga.deadline_missed": lambda _: "missed its deadline, so it is undone",
    "saga.waits_for_time": lambda detail: f"waits until {detail.get('waits_until')}, as agreed",
    "saga.waits_for_child": lambda detail: f"waits for the end of saga {detail.get('child')}",
    "saga.step_skipped": lambda detail: f"skipped after {detail.get('tries')} tries",
}


_words: dict[str, Callable[[Detail], str]] = {**WORDS}
_nothing_back: dict[str, Callable[[Detail], bool]] = {}


def register_words(words: Mapping[str, Callable[[Detail], str]]) -> None:
    """Add the words of events by type. A function returns nothing if the name says enough."""
    _words.update(words)


def register_nothing_back(found: Mapping[str, Callable[[Detail], bool]]) -> None:
    """Add the events, by type, that may end an undo without anything to undo."""
    _nothing_back.update(found)


def event_words(type_: str, detail: Mapping[str, Any]) -> str:
    """Return an event in words; empty if its name says enough."""
    if gave_nothing_back(type_, detail):
        return NOTHING_BACK
    words = _words.get(type_)
    return words(detail) if words else ""


def gave_nothing_back(type_: str, detail: Mapping[str, Any]) -> bool:
    """Tell whether the event ends an undo that had nothing to undo, as its domain says."""
    is_nothing = _nothing_back.get(type_)
    return is_nothing is not None and is_nothing(detail)
