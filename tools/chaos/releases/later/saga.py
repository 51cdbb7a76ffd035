"""The plans of new orders in this release."""

from collections.abc import Iterator

from msgspec.structs import replace

from orders.saga import SAGAS
from sagas.definition.plan import Plan, Stage, Step

__all__ = ["later_plan"]

PACK = Step("inventory.pack", undo="inventory.unpack")


def later_plan(plan: Plan) -> Plan:
    """Return the plan with a step before the reservation, and the new name of the shipment."""
    return replace(plan, steps=tuple(_later_stages(plan)))


def _later_stages(plan: Plan) -> Iterator[Stage]:
    for stage in plan.steps:
        if isinstance(stage, Step) and stage.name == "inventory.reserve":
            yield PACK
        is_shipment = isinstance(stage, Step) and stage.name == "inventory.ship"
        yield Step("inventory.dispatch") if is_shipment else stage


for saga in SAGAS.values():
    saga.plan = later_plan(saga.plan)
