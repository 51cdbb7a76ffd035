"""Put a step on hold for all sagas, or only its calls to one destination.

The step's own service decides whether the step runs. The homes of its sagas are written after it,
because their hold keeps the waiting sagas from being re-driven.
"""

from collections.abc import Sequence
from functools import partial

from console import holds
from console.bulk_actions.action import StepAction, Tile
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.visible_kinds import kinds_of_step
from sagas import control
from sagas.definition.hold_scope import HoldScope
from sagas.definition.plan import service_name
from sagas.kinds import SagaKind
from sagas.operations.table_stats import COUNT_LIMIT

__all__ = ["HoldStep"]

# Reads by state first, because each state has an index.
AT_STEP = """
SELECT count(*)
  FROM (SELECT step FROM {inbox} WHERE state IN ('started', 'waiting')
         ORDER BY send_at LIMIT %(most)s) open
 WHERE step = %(step)s
"""


class HoldStep(StepAction):
    """Stops all sagas before a step."""

    name = "hold_step"
    dangerous = True
    nothing_to_do = "The step is already on hold."

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the open sagas, and the messages that are at the step now."""
        service = service_name(step)
        scope = HoldScope(step, queries.destination)
        holds_now = queries.number(service, holds.MANUAL_STEP_HOLDS, **scope._asdict())
        open_orders = sum(
            sum(queries.read(kind.home, partial(_open_sagas, kind))) for kind in kinds_of_step(step)
        )
        at_step = queries.number(service, AT_STEP, step=step, most=COUNT_LIMIT)
        return queries.impact(orders=open_orders, step_holds=1 - holds_now, messages=at_step)

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show how many sagas may stop at the step."""
        return (
            Tile(
                "Open sagas",
                impact.orders,
                "these and all later sagas stop when they reach this step",
                "bad",
            ),
            Tile(
                "Messages at this step now",
                impact.messages,
                "running steps finish; waiting steps are held at their next attempt",
            ),
        )

    def apply(self, run: Run) -> ActionResult:
        """Write the hold to the step's service, then to the homes of its sagas."""
        by = run.requested_by.get_username()
        result = control.hold_step(run.step, destination=run.destination, by=by, why=run.reason)
        return ActionResult.of(result)


def _open_sagas(kind: SagaKind) -> list[int]:
    """Return how many sagas of a kind are open, up to `COUNT_LIMIT`."""
    return [kind.rows().filter(ended_at=None).order_by("rescue_at")[:COUNT_LIMIT].count()]
