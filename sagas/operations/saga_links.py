"""The sagas that a saga has started as its children, and the saga that started it."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec

from sagas.definition import handlers
from sagas.definition.plan import Plan, service_name
from sagas.models import TrackedSaga
from sagas.storage.children import find_child
from sagas.storage.registry import get_home

__all__ = ["ChildLink", "ParentLink", "children_of", "parent_of"]


class ParentLink(msgspec.Struct, frozen=True, kw_only=True):
    """The saga that started another one, and its step that waits for the end of that one."""

    id: UUID
    step: str


class ChildLink(msgspec.Struct, frozen=True, kw_only=True):
    """A saga that a step has started. `saga` is the name of its declaration."""

    id: UUID
    step: str
    saga: str
    ended_at: datetime | None
    needs_attention: bool

    @property
    def state(self) -> str:
        """Say in words how the child stands."""
        if self.ended_at:
            return "ended"
        return "needs attention" if self.needs_attention else "open"


def parent_of(row: TrackedSaga) -> ParentLink | None:
    """Return the parent of a saga, or None if no step has started it."""
    if row.parent_saga is None:
        return None
    return ParentLink(id=row.parent_saga, step=row.parent_step)


def children_of(saga: UUID, plan: Plan, *, service: str | None = None) -> Iterator[ChildLink]:
    """Yield the children of a saga, in the order of its plan. Ask only one `service`, or all.

    One statement for each step that starts a child, by primary key. Raises a database error.
    """
    for step in plan.actions:
        definition = handlers.definition(step.name)
        if definition is None or definition.child is None:
            continue
        home = service_name(step.name)
        row = find_child(get_home(home), saga, step.name) if service in (None, home) else None
        if row is not None:
            yield ChildLink(
                id=row.pk,
                step=step.name,
                saga=definition.child.saga.name,
                ended_at=row.ended_at,
                needs_attention=row.needs_attention,
            )
