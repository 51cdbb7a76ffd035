"""What every action of an operator's needs: its outcome in words, and the services that take
part in an order.
"""

from typing import NamedTuple

import msgspec

from console.models import RunItem
from orders.models import Order
from sagas.definition.plan import Plan
from sagas.storage.registry import Service, get_service

__all__ = ["Effect", "services_of"]


class Effect(NamedTuple):
    """What came of an action, in words for an operator."""

    state: RunItem.State
    said: str


def services_of(order: Order) -> list[Service]:
    """Return the services of an order's plan, its home last."""
    plan = msgspec.convert(order.plan, Plan)
    return [
        get_service(name)
        for name in sorted(plan.services(), key=lambda name: (name == plan.home, name))
    ]
