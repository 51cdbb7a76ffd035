"""Release a saga that is on hold, in all its services.

Its home is released first, so that at worst the saga is re-driven without need.
"""

from collections.abc import Sequence

from console.bulk_actions.action import OrderAction, Tile
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from sagas import control
from sagas.models import TrackedSaga

__all__ = ["Release"]

ON_HOLD = "SELECT saga FROM {hold} WHERE saga = ANY(%(orders)s::uuid[])"
HELD = "SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND state = 'held'"


class Release(OrderAction):
    """Lifts the hold of a saga, and sends its held messages on."""

    name = "release"
    nothing_to_do = "None of these sagas is on hold."

    def is_offered(self, order: TrackedSaga, *, on_hold: bool | None) -> bool:
        """Offer it unless the saga is known to be on no hold."""
        return on_hold is not False

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the sagas on hold, and their held messages."""
        on_hold = set(queries.in_all_services(ON_HOLD))
        held = sum(order in on_hold for order in queries.in_all_services(HELD))
        return queries.impact(affected=len(on_hold), messages=held)

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show how many sagas and steps go on."""
        return (
            Tile(
                "Sagas released",
                impact.affected,
                f"of {impact.orders}; the others are not on hold",
            ),
            Tile(
                "Held steps",
                impact.messages,
                "run at once, unless the step is on hold for all sagas",
            ),
        )

    def apply(self, order: TrackedSaga, run: Run) -> ActionResult:
        """Lift the holds, home first, and send on the messages that no other hold stops."""
        return ActionResult.of(control.release(order))
