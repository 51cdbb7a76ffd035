"""Names that an object is registered under, so that no second object takes one unnoticed.

Without it the last registration would win, and a saga would run another function than its plan
names.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

__all__ = ["NameTaken", "Origin", "Registrations", "by_name"]

T = TypeVar("T")


class NameTaken(ValueError):
    """Two objects are registered under one name. The text says where both are."""


class Origin(NamedTuple):
    """Where an object comes from: file and line of its registration, and of a function itself."""

    name: str
    registered: str
    defined: str = ""

    def __str__(self) -> str:
        """Return the object's name with its file and line, for an error."""
        return f"{self.name} ({self.defined or self.registered})"

    def is_same(self, other: "Origin") -> bool:
        """Whether both are one object, whose module may be imported twice or reloaded."""
        own_name, other_name = (name.rpartition(".")[2] for name in (self.name, other.name))
        return (own_name, *self[1:]) == (other_name, *other[1:])


class Registrations:
    """The names of one kind, each with the origin of its object.

    `registrars` are the `__file__` of the modules with registering functions. An origin is the line
    outside these modules.
    """

    def __init__(self, kind: str, *registrars: str) -> None:
        self.kind = kind
        self._registrars = registrars
        self._origins: dict[str, Origin] = {}

    def claim(self, name: str, registered: object) -> None:
        """Record that an object has a name. Raises `NameTaken` if another object has it."""
        origin = Origin(_name_of(registered), _caller_outside(self._registrars), _place(registered))
        first = self._origins.setdefault(name, origin)

        if not first.is_same(origin):
            raise NameTaken(
                f"{self.kind} {name!r} is registered twice: {first} and {origin}. "
                "Rename or remove one of them, because only one could be used."
            )


def by_name(kind: str, items: Iterable[T], name_of: Callable[[T], str]) -> dict[str, T]:
    """Return items by their names. Raises `NameTaken` if two of them have one name."""
    named: dict[str, T] = {}
    for item in items:
        name = name_of(item)
        if name in named:
            raise NameTaken(
                f"{kind} {name!r} is declared twice: {named[name]!r} and {item!r}. "
                "Rename or remove one of them, because only one could be used."
            )
        named[name] = item
    return named


def _name_of(registered: object) -> str:
    found: Any = _unwrapped(registered)
    name = getattr(found, "__qualname__", None) or type(found).__qualname__
    return f"{getattr(found, '__module__', None) or type(found).__module__}.{name}"


def _place(registered: object) -> str:
    """Return the file and line of a function; empty for any other object."""
    code = getattr(_unwrapped(registered), "__code__", None)
    return _position(code.co_filename, code.co_firstlineno) if code else ""


def _unwrapped(registered: Any) -> Any:
    """Return the function inside decorators and partial functions."""
    while isinstance(registered, partial):
        registered = registered.func
    return inspect.unwrap(registered) if callable(registered) else registered


def _caller_outside(registrars: Sequence[str]) -> str:
    """Return the file and line that called the registering modules."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename in (__file__, *registrars):
        frame = frame.f_back
    return _position(frame.f_code.co_filename, frame.f_lineno)


def _position(file: str, line: int) -> str:
    return f"{Path(file).absolute()}:{line}"
