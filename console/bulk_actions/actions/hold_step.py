"""Put a step on hold for all sagas, or only its calls to one destination.

The step's own service decides whether the step runs. The homes of its sagas are written after it,
because their hold keeps the waiting sagas from being re-driven.
"""

from collections.abc import Sequence
from functools import partial

from console import holds
from console.bulk_actions.action import StepAction, Tile
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionRejected, ActionResult
from console.models import Run
from console.visible_kinds import kinds_of_step
from sagas import control
from sagas.definition.hold_scope import HoldScope, WrongDestination
from sagas.definition.plan import service_name
from sagas.kinds import SagaKind
from sagas.operations.called_destinations import HAS_CALLED, MOST_RECENT, require_destination
from sagas.operations.table_stats import COUNT_LIMIT, count_in_words

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

    def check_scope(self, scope: HoldScope) -> None:
        """Raise `ActionRejected` if no call of the step can go to the destination."""
        try:
            require_destination(scope)
        except WrongDestination as error:
            raise ActionRejected(str(error)) from error

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the open sagas, and the messages that are at the step now."""
        service = service_name(step)
        scope = HoldScope(step, queries.destination)
        holds_now = queries.number(service, holds.MANUAL_STEP_HOLDS, **scope._asdict())
        open_orders = sum(
            sum(queries.read(kind.home, partial(_open_sagas, kind))) for kind in kinds_of_step(step)
        )
        at_step = queries.number(service, AT_STEP, step=step, most=COUNT_LIMIT)
        return queries.impact(
            orders=open_orders,
            step_holds=1 - holds_now,
            messages=at_step,
            unknown_destination=not _is_known(queries, scope),
        )

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show how many sagas may stop at the step."""
        tiles = [
            Tile(
                "Open sagas",
                count_in_words(impact.orders),
                "these and all later sagas stop when they reach this step",
                "bad",
            ),
            Tile(
                "Messages at this step now",
                count_in_words(impact.messages),
                "running steps finish; waiting steps are held at their next attempt",
            ),
        ]
        if impact.unknown_destination:
            note = "no call of this step to it is known: check the name"
            tiles.append(Tile("Outside system", "unknown", note, "slow"))
        return tiles

    def apply(self, run: Run) -> ActionResult:
        """Write the hold to the step's service, then to the homes of its sagas."""
        by = run.requested_by.get_username()
        try:
            result = control.hold_step(run.step, destination=run.destination, by=by, why=run.reason)
        except WrongDestination as error:
            return ActionResult.nothing(str(error))
        return ActionResult.of(result)


def _is_known(queries: OrderQueries, scope: HoldScope) -> bool:
    """Tell whether the step has called the destination, or True for the whole step."""
    if not scope.destination:
        return True
    params = {**scope._asdict(), "recent": MOST_RECENT}
    return bool(queries.number(service_name(scope.step), HAS_CALLED, **params))


def _open_sagas(kind: SagaKind) -> list[int]:
    """Return how many sagas of a kind are open, up to `COUNT_LIMIT`."""
    return [
        kind.rows().filter(ended_at=None).order_by("on_hold", "rescue_at")[:COUNT_LIMIT].count()
    ]
