"""Checks of the deadlines of sagas."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sagas.checks.findings import Finding
from sagas.definition.plan import Saga

__all__ = ["findings"]


def findings(saga: Saga) -> Iterator[Finding]:
    """Yield the faults of a saga's deadline."""
    deadline: Any = saga.deadline
    if deadline is None:
        return

    if not isinstance(deadline, timedelta) or deadline <= timedelta(0):
        yield Finding(
            "sagas.E036",
            f"Saga {saga.name!r} has deadline={deadline!r}, but it must be a timedelta above 0.",
            "Pass one, such as timedelta(hours=1).",
        )
    if saga.plan.pivot is None:
        yield Finding(
            "sagas.E037",
            f"Saga {saga.name!r} has a deadline, but no pivot.",
            "Mark one Step with pivot=True. Its row decides whether the deadline comes in time.",
        )
