"""Release a step that is on hold for all orders."""

import logging
from collections.abc import Sequence

from console import holds
from console.bulk_actions.action import HOLD_STEPS, StepAction, Tile
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from sagas.definition.plan import service_name
from sagas.delivery.task_signatures import task_signature
from sagas.operations import holds as engine_holds
from sagas.operations.table_stats import COUNT_LIMIT
from sagas.storage.registry import Service, service_of_step

__all__ = ["ReleaseStep"]

logger = logging.getLogger(__name__)


class ReleaseStep(StepAction):
    """Lifts the hold of a step. Its service sends the held messages on in rounds."""

    name = "release_step"
    label = "Release a step for all orders"
    permission = HOLD_STEPS
    nothing_to_do = "The step is not on hold."

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the orders that wait at the step."""
        service = service_name(step)
        holds_now = queries.number(service, holds.STEP_HOLDS, step=step)
        waiting = queries.number(service, holds.WAITING_AT_STEP, step=step, most=COUNT_LIMIT)
        return queries.impact(orders=waiting, step_holds=holds_now, messages=waiting)

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show how many orders go on."""
        note = "go on as fast as the workers take them"
        return (Tile("Orders that wait", impact.messages, note),)

    def apply(self, run: Run) -> ActionResult:
        """Lift the hold in the homes first, then in the step's own service."""
        service = service_of_step(run.step)
        lifted = [
            engine_holds.release(each, step=run.step)
            for each in reversed(holds.services_holding(run.step))
        ]
        _send_on_soon(service)

        if not any(lifted):
            return ActionResult.nothing(f"{run.step} was not on hold.")
        waiting = holds.waiting_at(service, run.step)
        return ActionResult.done(f"{run.step} is released; held messages being sent on: {waiting}.")


def _send_on_soon(service: Service) -> None:
    try:
        task = task_signature("release_held", service.name, queue=service.name)
        task.apply_async()
    except Exception as error:  # the broker's client raises many types; the hold is lifted
        logger.warning(
            "Could not queue sagas.release_held for %s; beat sends its held messages on within"
            " seconds: %r",
            service.name,
            error,
        )
