"""Mark a step of one saga as done by hand, on an operator's statement and evidence."""

from collections.abc import Iterator, Sequence
from typing import Any

from console.bulk_actions.action import OrderStepAction, Tile
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.order_page.saga_detail import SagaDetail
from sagas.definition.handlers import ManualCompletionRefused, ManualConfirmation, definition
from sagas.definition.plan import service_name
from sagas.models import Inbox, TrackedSaga
from sagas.operations.manual import mark_done

__all__ = ["MarkDone", "can_be_marked_done", "steps_to_mark_done"]

OPEN = {Inbox.State.STARTED, Inbox.State.WAITING, Inbox.State.HELD}

OPEN_ROWS = """
SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND step = %(step)s
   AND state IN ('started', 'waiting', 'held')
"""


class MarkDone(OrderStepAction):
    """Records what the step's success would record, without running the step."""

    name = "by_hand"
    exact_preview = True
    nothing_to_do = "The step is not open: it is done, or the saga has not reached it."
    reason_prompt = "How do you know that it is done?"
    takes_reference = True

    def required_reference(self, step: str) -> str:
        """Return the reference that the step's domain asks for, such as the gateway's refund id."""
        known = definition(step)
        return known.manual.reference if known and known.manual else ""

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the open step, with the money and the stock that would be recorded as moved."""
        rows = queries.rows(service_name(step), OPEN_ROWS, step=step)
        return queries.impact(affected=len(rows), **(self.moved(queries, step) if rows else {}))

    def moved(self, queries: OrderQueries, step: str) -> dict[str, Any]:
        """Return the money and the stock that would be recorded as moved: figures of `Impact`.

        Nothing by default, because only a domain knows them.
        """
        return {}

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show the step."""
        note = "the step counts as done, and the saga goes on"
        return (Tile("Sagas that change", impact.affected, note),)

    def apply(self, order: TrackedSaga, run: Run) -> ActionResult:
        """Mark the run's step as done, as the person who requested the run states."""
        confirmation = ManualConfirmation(
            by=run.requested_by.get_username(), evidence=run.reason, reference=run.reference
        )
        try:
            mark_done(run.step, order.pk, confirmation)
        except ManualCompletionRefused as refused:
            return ActionResult.nothing(str(refused))
        return ActionResult.done(f"{run.step} is marked as done by hand; the saga goes on.")


def can_be_marked_done(step: str) -> bool:
    """Tell whether the domain of a step allows a person to mark it as done."""
    known = definition(step)
    return known is not None and known.manual is not None


def steps_to_mark_done(detail: SagaDetail) -> Iterator[str]:
    """Yield the open steps of a saga that a person may mark as done."""
    rows = (message.row for message in detail.received)
    return (row.step for row in rows if row.state in OPEN and can_be_marked_done(row.step))
