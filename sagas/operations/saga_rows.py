"""The plan in the tracked row of a saga."""

import msgspec

from sagas.definition.plan import Plan
from sagas.models import TrackedSaga

__all__ = ["plan_of"]


def plan_of(row: TrackedSaga) -> Plan:
    """Return the plan that a saga started with. Raises LookupError if it was never started."""
    if not row.plan:
        raise LookupError(f"{row!r} has no plan: the saga was never started.")
    return msgspec.convert(row.plan, Plan)
