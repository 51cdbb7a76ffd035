"""Make the next attempt of the waiting steps of a saga due now."""

from collections.abc import Sequence

from console.bulk_actions.action import OrderAction, Tile, changed_orders, unchanged_money
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from sagas import control
from sagas.models import TrackedSaga

__all__ = ["WAITING", "Retry"]

WAITING = """
SELECT saga FROM {inbox}
 WHERE saga = ANY(%(orders)s::uuid[]) AND state = 'waiting' AND send_at IS NOT NULL
"""


class Retry(OrderAction):
    """Makes the next attempt of every waiting step due now.

    Steps that run, are held or are parked are left alone.
    """

    name = "retry"
    nothing_to_do = (
        "No step is waiting for its next attempt."
        " “Publish again” sends messages that may have been lost."
    )

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the steps that wait for their next attempt."""
        return queries.messages_impact(WAITING)

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show for how many steps the next attempt becomes due."""
        return changed_orders(impact), self.due(impact), unchanged_money()

    def apply(self, order: TrackedSaga, run: Run) -> ActionResult:
        """Make the waiting attempts due now, and wake the relays of their services."""
        return ActionResult.of(control.retry(order))

    def due(self, impact: Impact) -> Tile:
        """Return the tile of the attempts."""
        return Tile("Attempts due now", impact.messages, "a step that is done does nothing")
