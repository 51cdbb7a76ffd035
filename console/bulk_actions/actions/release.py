"""Release an order that is on hold, in all its services.

Its home is released first, so that at worst the order is re-driven without need.
"""

from collections.abc import Sequence

from console import holds
from console.bulk_actions.action import OrderAction, Tile
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.order_services import services_of
from orders.models import Order
from sagas.delivery import wakeup
from sagas.operations import holds as engine_holds

__all__ = ["Release"]

ON_HOLD = "SELECT saga FROM {hold} WHERE saga = ANY(%(orders)s::uuid[])"
HELD = "SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND state = 'held'"

STILL_HELD_STEPS = "SELECT step FROM {inbox} WHERE saga = %(saga)s AND state = 'held' ORDER BY id"


class Release(OrderAction):
    """Lifts the hold of an order, and sends its held messages on."""

    name = "release"
    label = "Release"
    nothing_to_do = "None of these orders is on hold."

    def is_offered(self, order: Order, *, on_hold: bool) -> bool:
        """Offer it while the order is on hold."""
        return on_hold

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the orders on hold, and their held messages."""
        on_hold = set(queries.in_all_services(ON_HOLD))
        held = sum(order in on_hold for order in queries.in_all_services(HELD))
        return queries.impact(affected=len(on_hold), messages=held)

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show how many orders and steps go on."""
        return (
            Tile(
                "Orders released",
                impact.affected,
                f"of {impact.orders}; the others are not on hold",
            ),
            Tile(
                "Held steps",
                impact.messages,
                "run at once, unless the step is on hold for all orders",
            ),
        )

    def apply(self, order: Order, run: Run) -> ActionResult:
        """Lift the holds, home first, and send on the messages that no other hold stops."""
        services = services_of(order)
        lifted = [engine_holds.release(service, saga=order.id) for service in reversed(services)]

        for service in services:
            if engine_holds.resume_saga(service, order.id):
                wakeup.request_flush(service.name)

        still_held = holds.steps_of(services, STILL_HELD_STEPS, order.id)
        note = ""
        if still_held:
            note = f" It still waits at {', '.join(still_held)}, which is on hold for all orders."
        if not any(lifted):
            return ActionResult.nothing(f"It was not on hold.{note}")
        return ActionResult.done(f"Released.{note}")
