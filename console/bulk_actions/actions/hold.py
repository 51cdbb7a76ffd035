"""Put an order on hold in all its services.

Its home is written last, because the home's hold keeps the order from being re-driven. If a
database fails halfway, the order is re-driven without need, and the action is tried again.
"""

from collections.abc import Sequence

from console import holds
from console.bulk_actions.action import OrderAction, Tile
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.order_services import services_of
from orders.models import Order
from sagas.operations import holds as engine_holds

__all__ = ["Hold"]

HOLDABLE = """
SELECT o.id FROM orders_order o
 WHERE o.id = ANY(%(orders)s::uuid[]) AND o.ended_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM orders_hold h WHERE h.saga = o.id)
"""

RUNNING_STEPS = "SELECT step FROM {inbox} WHERE saga = %(saga)s AND state = 'started' ORDER BY id"


class Hold(OrderAction):
    """Stops an order before its next step, forward or back."""

    name = "hold"
    label = "Put on hold"
    nothing_to_do = "Each of these orders has ended or is already on hold."

    def is_offered(self, order: Order, *, on_hold: bool) -> bool:
        """Offer it until the order is on hold."""
        return not on_hold

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the open orders that are not on hold."""
        return queries.impact(affected=len(queries.rows("orders", HOLDABLE)))

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show how many orders stop."""
        note = f"of {impact.orders}, before their next step; the others ended or are on hold"
        return (Tile("Orders put on hold", impact.affected, note),)

    def apply(self, order: Order, run: Run) -> ActionResult:
        """Write a hold to each service. An order that has ended meanwhile is released again."""
        services = services_of(order)
        by = run.requested_by.get_username()
        written = [
            engine_holds.hold(service, saga=order.id, by=by, why=run.reason) for service in services
        ]

        if Order.objects.filter(id=order.id, ended_at__isnull=False).exists():
            for service in services:
                engine_holds.release(service, saga=order.id)
            return ActionResult.nothing("It has ended, so there is nothing to hold.")
        if not any(written):
            return ActionResult.nothing("It was already on hold.")

        running = holds.steps_of(services, RUNNING_STEPS, order.id)
        exception = f" {', '.join(running)} is running and finishes first." if running else ""
        return ActionResult.done(f"On hold before its next step.{exception}")
