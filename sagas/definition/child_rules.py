"""The rule of a step that starts another saga, and the end of that saga as the step learns it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

import msgspec

from sagas.definition.plan import Saga

__all__ = ["ChildEnd", "ChildRule", "child_id", "undoing_step"]

# Any fixed UUID. It keeps the ids of children apart from other ids.
NAMESPACE = UUID("5d1c4a52-9b1e-4f0b-8f61-2c9a4b0c6e17")

# The last part of the name of the step that undoes a child.
UNDO = "undo"


class ChildRule(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of the saga that a step starts, and the event of its failure.

    `has_undo`: a child that is done is undone by a function of the domain. `done`: the event of the
    step, or a function that returns it.
    """

    saga: Saga
    failed: Any
    done: Any
    has_undo: bool


class ChildEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a child ended. `failure` has the code and the detail of an undone child, else None."""

    child: UUID
    failure: Mapping[str, str] | None = None


def child_id(parent: UUID, step: str) -> UUID:
    """Return the id of the saga that a step of a saga starts. It is the same at each attempt."""
    return uuid5(NAMESPACE, f"{parent} {step}")


def undoing_step(step: str) -> str:
    """Return the name of the step that undoes the child of a step."""
    return f"{step}.{UNDO}"
