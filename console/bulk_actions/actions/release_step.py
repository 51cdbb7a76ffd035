"""Release a step that is on hold for all sagas."""

from collections.abc import Sequence

from console import holds
from console.bulk_actions.action import StepAction, Tile
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from sagas import control
from sagas.definition.hold_scope import HoldScope
from sagas.definition.plan import service_name
from sagas.operations.hold_texts import words
from sagas.operations.table_stats import COUNT_LIMIT, count_in_words
from sagas.storage.registry import service_of_step

__all__ = ["ReleaseStep"]


class ReleaseStep(StepAction):
    """Lifts the hold of a step. Its service sends the held messages on in rounds."""

    name = "release_step"
    nothing_to_do = "The step is not on hold."

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the sagas that wait at the step."""
        service = service_name(step)
        scope = HoldScope(step, queries.destination)._asdict()
        holds_now = queries.number(service, holds.STEP_HOLDS, **scope)
        waiting = queries.number(service, holds.WAITING_AT_STEP, **scope, most=COUNT_LIMIT)
        return queries.impact(orders=waiting, step_holds=holds_now, messages=waiting)

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show how many sagas go on."""
        note = "go on as fast as the workers take them"
        return (Tile("Sagas that wait", count_in_words(impact.messages), note),)

    def apply(self, run: Run) -> ActionResult:
        """Lift the hold in the homes first, then in the step's own service."""
        result = control.release_step(run.step, destination=run.destination)
        if not result.changed:
            return ActionResult.nothing(result.text)
        said = words(run.scope)
        waiting = count_in_words(holds.waiting_at(service_of_step(run.step), run.scope))
        return ActionResult.done(
            f"{said.subject} {said.be} released; held messages being sent on: {waiting}."
        )
