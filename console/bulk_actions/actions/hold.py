"""Put a saga on hold in all its services.

If a database fails halfway, the saga is re-driven without need, and the action is tried again.
"""

from collections.abc import Sequence

from console.bulk_actions.action import OrderAction, Tile
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from sagas import control
from sagas.kinds import kind_of
from sagas.models import TrackedSaga

__all__ = ["Hold"]

ON_HOLD = "SELECT saga FROM {hold} WHERE saga = ANY(%(orders)s::uuid[])"


class Hold(OrderAction):
    """Stops a saga before its next step, forward or back."""

    name = "hold"
    nothing_to_do = "Each of these sagas has ended or is already on hold."

    def is_offered(self, order: TrackedSaga, *, on_hold: bool | None) -> bool:
        """Offer it unless the saga is known to be on hold."""
        return not on_hold

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the open sagas that are not on hold."""
        rows = queries.open_sagas()
        homes = {kind_of(type(row)).home for row in rows}
        held = {saga for home in sorted(homes) for (saga,) in queries.rows(home, ON_HOLD)}
        return queries.impact(affected=sum(row.pk not in held for row in rows))

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show how many sagas stop."""
        note = f"of {impact.orders}, before their next step; the others ended or are on hold"
        return (Tile("Sagas put on hold", impact.affected, note),)

    def apply(self, order: TrackedSaga, run: Run) -> ActionResult:
        """Write a hold to each service. A saga that has ended meanwhile is released again."""
        by = run.requested_by.get_username()
        return ActionResult.of(control.hold(order, by=by, why=run.reason))
