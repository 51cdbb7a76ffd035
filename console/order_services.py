"""The services that take part in a saga."""

import msgspec

from sagas.definition.plan import Plan
from sagas.models import TrackedSaga
from sagas.storage.registry import Service, get_service

__all__ = ["services_of"]


def services_of(order: TrackedSaga) -> list[Service]:
    """Return the services of a saga's plan, its home last."""
    plan = msgspec.convert(order.plan, Plan)
    home_last = sorted(plan.services(), key=lambda name: (name == plan.home, name))
    return [get_service(name) for name in home_last]
