"""The services that take part in an order."""

import msgspec

from orders.models import Order
from sagas.definition.plan import Plan
from sagas.storage.registry import Service, get_service

__all__ = ["services_of"]


def services_of(order: Order) -> list[Service]:
    """Return the services of an order's plan, the order's home last."""
    plan = msgspec.convert(order.plan, Plan)
    home_last = sorted(plan.services(), key=lambda name: (name == plan.home, name))
    return [get_service(name) for name in home_last]
