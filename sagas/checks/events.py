"""Check that each type of event belongs to one class."""

import sys
from collections import defaultdict
from collections.abc import Iterator

from sagas.checks.findings import Finding
from sagas.definition.events import Event

__all__ = ["current_events", "shared_types"]


def shared_types() -> Iterator[Finding]:
    """Yield the types that two classes declare. A subclass may inherit the type of its base."""
    classes: dict[str, list[str]] = defaultdict(list)
    for event in current_events():
        classes[event.type].append(f"{event.__module__}.{event.__qualname__}")

    for type_, names in sorted(classes.items()):
        if len(names) > 1:
            yield Finding(
                "sagas.E016",
                f"The event type {type_!r} is declared by {' and '.join(sorted(names))}.",
                "Give each event a type of its own. Readers of the timeline cannot tell them "
                "apart, and a saga stands still if one of them is only a notice.",
            )


def current_events() -> Iterator[type[Event]]:
    """Yield the classes of all events that declare a type of their own."""
    for event in _subclasses(Event):
        if "type" in vars(event) and _is_current(event):
            yield event


def _subclasses(event: type[Event]) -> Iterator[type[Event]]:
    for subclass in event.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _is_current(event: type[Event]) -> bool:
    """Tell whether a class is still in its module. A reload leaves the old class behind."""
    return getattr(sys.modules.get(event.__module__), event.__qualname__, None) is event
