"""The saga that a story is about: its tracked row, its plan, and the handlers of its steps."""

from collections.abc import Callable
from typing import TypeAlias
from uuid import UUID

import msgspec
from django.db.models import Model

from sagas import deadlines
from sagas.definition import handlers
from sagas.definition.plan import Plan, Saga
from sagas.models import TrackedSaga
from sagas.storage.registry import get_home

__all__ = [
    "Started",
    "Subject",
    "id_of",
    "let_deadline_pass",
    "require_handlers",
    "stored_plan",
    "tracked_row",
]

# A started saga: its id, or its tracked row.
Started: TypeAlias = UUID | Model | str

# A started saga, or a function that starts one.
Subject: TypeAlias = Started | Callable[[], Started]


def id_of(started: Started) -> UUID:
    """Return the id of a saga. Raises `ValueError` for a text that is no id."""
    if started is None:
        raise ValueError("The function that starts the saga must return its tracked row or its id.")
    found = started.pk if isinstance(started, Model) else started
    return found if isinstance(found, UUID) else UUID(str(found))


def tracked_row(home: str, saga: UUID) -> TrackedSaga:
    """Return the tracked row of a saga, read now. Raises `LookupError`."""
    place = get_home(home)
    for kind in place.kinds:
        if row := kind._default_manager.using(place.alias).filter(pk=saga).first():
            return row
    raise LookupError(f"Saga {saga} has no row in {' or '.join(place.tables)}.")


def let_deadline_pass(home: str, saga: UUID) -> None:
    """Let the deadline of a saga act. Raises `ValueError` if it has none, or none any more."""
    row = tracked_row(home, saga)
    if row.deadline_at is None:
        raise ValueError(
            f"Saga {saga} has no deadline, or it has acted. Declare one: Saga(…, deadline=…)."
        )
    deadlines.act(get_home(home), type(row), saga)


def stored_plan(declaration: Saga, saga: UUID) -> Plan:
    """Return the plan that the saga started with. Raises `LookupError` if it is of another saga."""
    plan = msgspec.convert(tracked_row(declaration.plan.home, saga).plan, Plan)
    if plan.saga != declaration.name:
        raise LookupError(f"{saga} is a saga {plan.saga!r}, not {declaration.name!r}.")
    return plan


def require_handlers(plan: Plan) -> None:
    """Raise `LookupError` if a step of the plan has no handler in this process."""
    missing = [step for step in plan.names() if handlers.definition(step) is None]
    if missing:
        raise LookupError(
            f"No handler is registered for {', '.join(missing)}. Register each step in the module"
            " `steps` of its app, and add the app to INSTALLED_APPS."
        )
