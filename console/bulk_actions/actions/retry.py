"""Make the next attempt of the waiting steps of an order due now."""

from collections.abc import Sequence

from console.bulk_actions.action import OrderAction, Tile, changed_orders, unchanged_money
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.order_services import services_of
from orders.models import Order
from sagas.delivery import wakeup
from sagas.storage import inbox, sql

__all__ = ["Retry"]

WAITING = """
SELECT saga FROM {inbox}
 WHERE saga = ANY(%(orders)s::uuid[]) AND state = 'waiting' AND send_at IS NOT NULL
"""

OPEN_STEPS = """
SELECT id, step,
       CASE WHEN state = 'held' THEN 'held' WHEN send_at IS NULL THEN 'parked' ELSE 'retriable' END
  FROM {inbox} WHERE saga = %(saga)s AND state IN ('started', 'waiting', 'held') ORDER BY id
"""


class Retry(OrderAction):
    """Makes the next attempt of every waiting step due now.

    Steps that run, are held or are parked are left alone.
    """

    name = "retry"
    label = "Try again now"
    nothing_to_do = (
        "No step is waiting for its next attempt."
        " “Publish again” sends messages that may have been lost."
    )

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the steps that wait for their next attempt."""
        return queries.messages_impact(WAITING)

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show for how many steps the next attempt becomes due."""
        due = Tile("Steps attempted again", impact.messages, "a step that is done does nothing")
        return changed_orders(impact), due, unchanged_money()

    def apply(self, order: Order, run: Run) -> ActionResult:
        """Make the waiting steps due now, and wake the relays of their services."""
        made_due = 0
        steps: dict[str, list[str]] = {"held": [], "parked": [], "retriable": []}

        for service in services_of(order):
            statement = OPEN_STEPS.format(inbox=service.inbox)
            rows = sql.fetch(service.alias, statement, {"saga": order.id})
            made_due += inbox.make_due_now(service, [row_id for row_id, _, _ in rows])
            for _, step, condition in rows:
                steps[condition].append(step)
            wakeup.request_flush(service.name)

        if made_due:
            return ActionResult.done(f"{made_due} step{'s' if made_due > 1 else ''} made due now.")
        return ActionResult.nothing(_reason(held=steps["held"], parked=steps["parked"]))


def _reason(*, held: list[str], parked: list[str]) -> str:
    if held:
        return f"{', '.join(held)} is on hold: release it first."
    if parked:
        return (
            f"{', '.join(parked)} cannot be sent again from this row. Read its error: a purged saga"
            " needs a person; an unreadable message is sent again by “Publish again”."
        )
    return "No step is waiting for its next attempt."
